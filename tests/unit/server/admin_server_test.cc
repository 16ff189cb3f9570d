#include "server/http/admin_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/door/descriptor.h"

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

class SlowClientsTest : public AdminServerTest {
 protected:
  // Connects, and sends this much.
  Descriptor Send(const std::string& text) {
    Descriptor client(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->address().port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
    return client;
  }

  void ExpectPromptAnswer() {
    auto client = Connect();
    client.set_read_timeout(30);
    const auto response = client.Get("/metrics");
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, 200);
  }

  static std::string ReadToEnd(const Descriptor& client) {
    std::string all;
    char part[1024];
    for (ssize_t size; (size = recv(client.get(), part, sizeof(part), 0)) > 0;) {
      all.append(part, static_cast<size_t>(size));
    }
    return all;
  }
};

TEST_F(SlowClientsTest, HoldUpNobodyWhetherIdleOrInTheMiddleOfSomething) {
  std::vector<Descriptor> slow;
  for (const char* begin : {"", "GET /healthz HTTP/1.1\r\nX-Dri",
                            "POST /healthz HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{"}) {
    for (int i = 0; i < 20; ++i) slow.push_back(Send(begin));
  }
  ExpectPromptAnswer();
}

// The oldest goes first: its end is the sign that there were more than the port takes.
TEST_F(SlowClientsTest, MakePlaceForOthersWhenTheyAreMany) {
  std::vector<Descriptor> idle;
  for (int i = 0; i < 600; ++i) idle.push_back(Send(""));
  ExpectPromptAnswer();
  EXPECT_EQ(ReadToEnd(idle.front()), "");
}

TEST_F(SlowClientsTest, MakePlaceOnceTheyHaveTheirAnswers) {
  std::vector<Descriptor> stay;
  for (int i = 0; i < 300; ++i) stay.push_back(Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
  for (const Descriptor& client : stay) ReadToEnd(client);
  ExpectPromptAnswer();
}

TEST_F(SlowClientsTest, AreNotWaitedForLong) { EXPECT_EQ(ReadToEnd(Send("GET /hea")), ""); }

TEST_F(SlowClientsTest, AreAnsweredInPiecesOfAnySize) {
  const std::string request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
  const Descriptor client = Send("");
  for (const char byte : request) ASSERT_EQ(send(client.get(), &byte, 1, MSG_NOSIGNAL), 1);
  const std::string answer = ReadToEnd(client);
  EXPECT_THAT(answer, ::testing::StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, ::testing::EndsWith("\r\n\r\nok\n"));
}

// Sends more and more; each part is let through by the test.
class Numbers final : public AdminStream {
 public:
  struct Gate {
    absl::Mutex mu;
    int open ABSL_GUARDED_BY(mu) = 0;  // parts that may go
    bool gone ABSL_GUARDED_BY(mu) = false;

    void LetThrough(int parts) {
      absl::MutexLock lock(&mu);
      open += parts;
    }
    void AwaitGone() {
      absl::MutexLock lock(&mu);
      mu.Await(absl::Condition(&gone));
    }
  };

  Numbers(std::shared_ptr<Gate> gate, int last) : gate_(std::move(gate)), last_(last) {}
  ~Numbers() override {
    absl::MutexLock lock(&gate_->mu);
    gate_->gone = true;
  }

  std::optional<std::string> Next() override {
    if (next_ > last_) return std::nullopt;
    absl::MutexLock lock(&gate_->mu);
    const auto may_go = [this]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(gate_->mu) { return gate_->open > 0; };
    if (!gate_->mu.AwaitWithTimeout(absl::Condition(&may_go), absl::Milliseconds(1))) return "";
    --gate_->open;
    return std::to_string(next_++) + "\n";
  }

 private:
  const std::shared_ptr<Gate> gate_;
  const int last_;
  int next_ = 1;
};

class AdminStreamTest : public AdminServerTest {
 protected:
  AdminStreamTest() {
    server_->HandlePost("/numbers", [this](const AdminRequest& request) {
      return AdminResponse{.stream = std::make_shared<Numbers>(gate_, std::stoi(request.body))};
    });
  }

  // POSTs how many numbers are wanted; `receive` gets what comes, and says whether to read on.
  httplib::Result Count(const std::string& last, std::function<bool(const std::string&)> receive) {
    httplib::Request request;
    request.method = "POST";
    request.path = "/numbers";
    request.headers = {{"Content-Type", "application/json"}};
    request.body = last;
    request.content_receiver = [receive](const char* part, size_t size, uint64_t, uint64_t) {
      return receive({part, size});
    };
    return Connect().send(request);
  }

  const std::shared_ptr<Numbers::Gate> gate_ = std::make_shared<Numbers::Gate>();
};

TEST_F(AdminStreamTest, SendsPartsAsTheyComeAndAnswersOthersMeanwhile) {
  gate_->LetThrough(1);
  std::string received;
  const auto result = Count("3", [&](const std::string& part) {
    received += part;
    EXPECT_EQ(Connect().Get("/healthz")->status, 200);
    gate_->LetThrough(1);
    return true;
  });
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 200);
  EXPECT_EQ(received, "1\n2\n3\n");
  gate_->AwaitGone();
}

TEST_F(AdminStreamTest, LetsGoOfAStreamWhoseReaderIsGone) {
  gate_->LetThrough(1);
  const auto result = Count("1000000", [](const std::string&) { return false; });
  EXPECT_FALSE(result);
  gate_->AwaitGone();  // though there is nothing more to send
}

TEST_F(AdminStreamTest, EndsStreamsWithThePort) {
  gate_->LetThrough(1);
  const auto result = Count("1000000", [this](const std::string&) {
    std::thread([this] { server_.reset(); }).join();
    return true;
  });
  EXPECT_FALSE(result);
  gate_->AwaitGone();
}

class AdminPostTest : public AdminServerTest {
 protected:
  AdminPostTest() {
    server_->HandlePost(
        "/echo", [](const AdminRequest& request) { return AdminResponse{.body = request.body}; });
  }

  int Post(httplib::Headers headers, const std::string& body = "{}",
           const char* type = "application/json") {
    const auto response = Connect().Post("/echo", headers, body, type);
    EXPECT_TRUE(response);
    return response ? response->status : 0;
  }

  std::string OwnHost() const { return server_->address().ToString(); }
};

TEST_F(AdminPostTest, GivesTheBodyToTheRoute) {
  const std::string body(AdminServer::kMaxBodyBytes, 'x');
  const auto response = Connect().Post("/echo", body, "application/json; charset=utf-8");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, body);
  EXPECT_EQ(Connect().Get("/echo")->status, 404);
}

TEST_F(AdminPostTest, AnswersOwnPagesAndProgramsOnly) {
  EXPECT_EQ(Post({}), 200);
  EXPECT_EQ(Post({{"Origin", "http://" + OwnHost()}, {"Sec-Fetch-Site", "same-origin"}}), 200);
  EXPECT_EQ(Post({{"Origin", "http://elsewhere.example"}}), 403);
  EXPECT_EQ(Post({{"Origin", "http://127.0.0.1:1"}}), 403);
  EXPECT_EQ(Post({{"Origin", "null"}}), 403);
  EXPECT_EQ(Post({{"Sec-Fetch-Site", "cross-site"}}), 403);
  EXPECT_EQ(Post({{"Sec-Fetch-Site", "same-site"}}), 403);
}

// A name that somebody else lets point to this machine.
TEST_F(AdminPostTest, IsCalledByALoopbackAddressWhereItListensOnOne) {
  const auto as = [this](const std::string& host) {
    return Post({{"Host", host}, {"Origin", "http://" + host}});
  };
  EXPECT_EQ(as("localhost:9091"), 200);
  EXPECT_EQ(as("127.0.0.1"), 200);
  EXPECT_EQ(as("[::1]:9091"), 200);
  EXPECT_EQ(as("elsewhere.example:9091"), 403);
  EXPECT_EQ(as("127.elsewhere.example"), 403);
}

TEST_F(AdminPostTest, TakesJsonOnly) {
  EXPECT_EQ(Post({}, "{}", "text/plain"), 415);
  EXPECT_EQ(Post({}, "a=b", "application/x-www-form-urlencoded"), 415);
  EXPECT_EQ(Post({}, "{}", "application/jsonp"), 415);
}

TEST_F(AdminPostTest, LimitsTheBodyHoweverItIsSent) {
  const std::string large(AdminServer::kMaxBodyBytes + 1, 'x');
  EXPECT_EQ(Post({}, large), 413);

  httplib::Client chunked = Connect();
  bool sent = false;
  const auto in_chunks = chunked.Post(
      "/echo", {},
      [&](size_t, httplib::DataSink& sink) {
        if (!std::exchange(sent, true)) return sink.write(large.data(), large.size());
        sink.done();
        return true;
      },
      "application/json");
  ASSERT_TRUE(in_chunks);
  EXPECT_EQ(in_chunks->status, 413);

  httplib::Client compressed = Connect();
  compressed.set_compress(true);
  const auto in_short = compressed.Post("/echo", large, "application/json");
  ASSERT_TRUE(in_short);
  EXPECT_EQ(in_short->status, 413);
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
