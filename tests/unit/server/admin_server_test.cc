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
    auto server = AdminServer::Start(
        {"127.0.0.1", 0}, {[] { return "series 1\n"; }, [this] { return ready_.load(); }});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  httplib::Client Connect() const { return httplib::Client("127.0.0.1", server_->address().port); }

  std::atomic<bool> ready_ = false;
  std::unique_ptr<AdminServer> server_;
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
  const auto second = AdminServer::Start(server_->address(), {});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(server_->address().ToString() + ": Address already in use"));
}

TEST_F(AdminServerTest, GivesItsPortBack) {
  const ListenAddress address = server_->address();
  server_.reset();
  EXPECT_TRUE(AdminServer::Start(address, {}).ok());
}

TEST(AdminServerAddressTest, ListensOnIpv6) {
  const auto server = AdminServer::Start({"::1", 0}, {[] { return ""; }, [] { return true; }});
  if (!server.ok()) GTEST_SKIP() << "this machine has no IPv6: " << server.status();
  EXPECT_EQ((*server)->address().ToString(), "[::1]:" + std::to_string((*server)->address().port));
  EXPECT_EQ(httplib::Client("::1", (*server)->address().port).Get("/readyz")->status, 200);
}

TEST(AdminServerAddressTest, RefusesAHostThatDoesNotExist) {
  EXPECT_FALSE(AdminServer::Start({"no-such-host.invalid", 0}, {}).ok());
}

}  // namespace
}  // namespace peerage
