#include "server/http/admin_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace peerage {
namespace {

using ::testing::HasSubstr;

class AdminServerTest : public ::testing::Test {
 protected:
  AdminServerTest() {
    AddRoutes(*server_);
    const absl::Status status = server_->Listen({"127.0.0.1", 0});
    EXPECT_TRUE(status.ok()) << status;
  }

  void AddRoutes(AdminServer& server) {
    server.Handle("/healthz", [](const AdminRequest&) { return AdminResponse{.body = "ok\n"}; });
    server.Handle("/readyz", [this](const AdminRequest&) {
      return AdminResponse{.status = ready_ ? 200 : 503};
    });
    server.Handle("/metrics", [](const AdminRequest&) {
      return AdminResponse{.content_type = "text/plain; version=0.0.4", .body = "series 1\n"};
    });
  }

  httplib::Client Connect() const { return httplib::Client("127.0.0.1", server_->address().port); }

  std::atomic<bool> ready_ = false;
  std::unique_ptr<AdminServer> server_ = std::make_unique<AdminServer>();
};

TEST_F(AdminServerTest, ReportsThePortThatItTook) { EXPECT_GT(server_->address().port, 0); }

TEST_F(AdminServerTest, IsHealthyBeforeItIsReady) {
  auto client = Connect();
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_EQ(client.Get("/readyz")->status, 503);
  ready_ = true;
  EXPECT_EQ(client.Get("/readyz")->status, 200);
  ready_ = false;
  EXPECT_EQ(client.Get("/readyz")->status, 503);
}

TEST_F(AdminServerTest, ServesTheExpositionWithItsFormat) {
  auto client = Connect();
  const auto response = client.Get("/metrics");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "series 1\n");
  EXPECT_THAT(response->get_header_value("Content-Type"), HasSubstr("version=0.0.4"));
}

TEST_F(AdminServerTest, KnowsNothingElse) {
  auto client = Connect();
  EXPECT_EQ(client.Get("/")->status, 404);
  EXPECT_EQ(client.Get("/metrics/x")->status, 404);
  EXPECT_EQ(client.Post("/metrics")->status, 404);
}

TEST_F(AdminServerTest, HandlesRoutesThatComeWhileItServes) {
  auto client = Connect();
  EXPECT_EQ(client.Get("/experts")->status, 404);
  server_->Handle("/experts", [](const AdminRequest& request) {
    AdminResponse response{.status = 302, .headers = {{"Location", request.path}}};
    for (const auto& [name, value] : request.parameters) response.body += name + "=" + value;
    return response;
  });

  const auto response = client.Get("/experts?layer=1%202");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 302);
  EXPECT_EQ(response->body, "layer=1 2");
  EXPECT_EQ(response->get_header_value("Location"), "/experts");
}

TEST_F(AdminServerTest, AnswersWhileMoreConnectionsAreIdleThanItHasThreads) {
  std::vector<int> idle;
  for (int i = 0; i < 4; ++i) {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->address().port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    idle.push_back(socket);
  }
  auto client = Connect();
  client.set_read_timeout(30);
  const auto response = client.Get("/metrics");
  for (int socket : idle) close(socket);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
}

TEST_F(AdminServerTest, RefusesAPortInUse) {
  const absl::Status second = AdminServer().Listen(server_->address());
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.message()),
              HasSubstr(server_->address().ToString() + ": Address already in use"));
}

TEST_F(AdminServerTest, GivesItsPortBack) {
  const ListenAddress address = server_->address();
  server_.reset();
  EXPECT_TRUE(AdminServer().Listen(address).ok());
}

TEST(AdminServerAddressTest, ListensOnIpv6) {
  AdminServer server;
  server.Handle("/readyz", [](const AdminRequest&) { return AdminResponse(); });
  const absl::Status status = server.Listen({"::1", 0});
  if (!status.ok()) GTEST_SKIP() << "this machine has no IPv6: " << status;
  EXPECT_EQ(server.address().ToString(), "[::1]:" + std::to_string(server.address().port));
  EXPECT_EQ(httplib::Client("::1", server.address().port).Get("/readyz")->status, 200);
}

TEST(AdminServerAddressTest, RefusesAHostThatDoesNotExist) {
  EXPECT_FALSE(AdminServer().Listen({"no-such-host.invalid", 0}).ok());
}

}  // namespace
}  // namespace peerage
