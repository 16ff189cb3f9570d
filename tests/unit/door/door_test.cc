#include "server/door/door.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/door/own_frames.h"
#include "tests/support/fake_clock.h"
#include "tests/unit/door/frames.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

std::string ReadToEnd(int fd) {
  std::string all;
  char part[16 << 10];
  for (ssize_t size; (size = read(fd, part, sizeof(part))) > 0;) {
    all.append(part, static_cast<size_t>(size));
  }
  return all;
}

void WriteAll(int fd, const std::string& bytes) {
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t size = send(fd, bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL);
    if (size < 0) return;
    written += static_cast<size_t>(size);
  }
}

// So many bytes, or all until the end.
std::string ReadExactly(int fd, size_t size) {
  std::string all(size, ' ');
  const ssize_t read = recv(fd, all.data(), size, MSG_WAITALL);
  all.resize(read < 0 ? 0 : static_cast<size_t>(read));
  return all;
}

// Says again what it hears.
void Echo(int fd) {
  char part[16 << 10];
  for (ssize_t size; (size = read(fd, part, sizeof(part))) > 0;) {
    WriteAll(fd, std::string(part, static_cast<size_t>(size)));
  }
}

// Of the socket at the other end, without the zero that begins abstract names.
std::string PeerName(int fd) {
  sockaddr_un address = {};
  socklen_t size = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return std::string(address.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1);
}

// What a client may send, with this text in it.
std::string Said(const std::string& text) {
  return kPreface + FrameOf(FrameType::kSettings, 0, 0) + FrameOf(FrameType::kData, 0, 1, text);
}

// Of a call that may never have been.
std::string Resets(int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += FrameOf(FrameType::kReset, 0, 1, "code");
  return all;
}

std::string Calls(uint32_t count) {
  std::string all;
  for (uint32_t i = 0; i < count; ++i) {
    all += FrameOf(FrameType::kHeaders, FrameHead::kEndHeaders, 2 * i + 1, "headers");
  }
  return all;
}

// Beyond those without a wait, all connections pass on one a second.
const ConnectionLimits::Limits kOneReset = {.resets = {.all = {.at_once = 1, .per_second = 1}}};

class Refusals final : public DoorObserver {
 public:
  void OnConnected() override {}
  void OnDisconnected() override {}
  void OnRefusal(Refusal refusal) override {
    absl::MutexLock lock(&mu_);
    seen_.push_back(refusal);
  }
  std::vector<Refusal> Await(size_t count) {
    const auto are_there = [this, count]()
                               ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return seen_.size() >= count; };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&are_there));
    return seen_;
  }

 private:
  absl::Mutex mu_;
  std::vector<Refusal> seen_ ABSL_GUARDED_BY(mu_);
};

// A door to a server of one connection at a time, which `serve` is.
class DoorTest : public ::testing::Test {
 protected:
  void Open(std::function<void(int)> serve, const ConnectionLimits::Limits& limits = {},
            bool start = true) {
    serve_ = std::move(serve);
    auto door = Door::Open({.listen = {"127.0.0.1", 0},
                            .limits = limits,
                            .proxies = proxies_,
                            .clock = &clock_,
                            .log = log_.get(),
                            .observer = &refusals_});
    ASSERT_TRUE(door.ok()) << door.status();
    door_ = *std::move(door);
    if (start) Start();
  }

  void Start() {
    door_->Start([this, serve = serve_](Descriptor connection) {
      auto owned = std::make_shared<Descriptor>(std::move(connection));
      threads_.emplace_back([serve, owned] {
        fcntl(owned->get(), F_SETFL, 0);  // it may wait
        serve(owned->get());
        owned->Reset();
      });
    });
  }

  ~DoorTest() override {
    if (door_ != nullptr) door_->StopListening();
    door_.reset();
    for (std::thread& thread : threads_) thread.join();
  }

  // Invalid when nobody listens.
  Descriptor Connect() {
    Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(door_->address().port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      client.Reset();
    }
    return client;
  }

  AddressRanges proxies_;
  FakeClock clock_;
  std::ostringstream log_text_;
  std::unique_ptr<Log> log_ = std::make_unique<Log>(LogOptions{}, &clock_, &log_text_);
  Refusals refusals_;
  std::function<void(int)> serve_;
  std::unique_ptr<Door> door_;
  std::vector<std::thread> threads_;
};

TEST_F(DoorTest, RelaysBothWaysAndTheEnds) {
  Open([](int fd) { WriteAll(fd, "heard " + ReadToEnd(fd)); });
  const Descriptor client = Connect();
  WriteAll(client.get(), Said("a word"));
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(client.get()), "heard " + Said("a word"));
  EXPECT_TRUE(door_->AwaitEnd(absl::InfiniteFuture()));
}

TEST_F(DoorTest, RelaysMoreThanAllBuffersHoldToAReaderWhoComesLate) {
  std::string long_text;
  for (int i = 0; i < 2'000'000; ++i) absl::StrAppend(&long_text, i, " ");
  long_text = Said(long_text);
  Open([](int fd) { WriteAll(fd, ReadToEnd(fd)); });
  const Descriptor client = Connect();
  WriteAll(client.get(), long_text);
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(client.get()), long_text);
}

TEST_F(DoorTest, BringsWhatTheServerLeftBeforeItWent) {
  Open([](int fd) { WriteAll(fd, "goodbye"); });
  const Descriptor client = Connect();
  EXPECT_EQ(ReadToEnd(client.get()), "goodbye");
}

TEST_F(DoorTest, TellsTheServerThatAClientIsGone) {
  Open([](int fd) { EXPECT_EQ(ReadToEnd(fd), Said("half a word").substr(0, 50)); });
  Descriptor client = Connect();
  WriteAll(client.get(), Said("half a word").substr(0, 50));
  client.Reset();
  EXPECT_TRUE(door_->AwaitEnd(absl::InfiniteFuture()));
}

TEST_F(DoorTest, KnowsWhoIsBehindANameWhileHeIsConnected) {
  std::promise<std::string> told;
  Open([&told](int fd) {
    told.set_value(PeerName(fd));
    ReadToEnd(fd);
  });
  Descriptor client = Connect();
  const std::string name = told.get_future().get();
  ASSERT_TRUE(door_->Find(name).has_value()) << name;
  EXPECT_THAT(door_->Find(name)->address, StartsWith("ipv4:127.0.0.1:"));
  EXPECT_FALSE(door_->Find("").has_value());
  EXPECT_FALSE(door_->Find(name + "0").has_value());
  client.Reset();
  door_->AwaitEnd(absl::InfiniteFuture());
  EXPECT_FALSE(door_->Find(name).has_value());
}

TEST_F(DoorTest, KeepsWhoIsConnectedWhenItStopsToListen) {
  std::promise<void> let_in;
  Open([&let_in](int fd) {
    let_in.set_value();
    WriteAll(fd, ReadToEnd(fd));
  });
  const Descriptor early = Connect();
  let_in.get_future().wait();
  door_->StopListening();
  EXPECT_FALSE(Connect().valid());
  EXPECT_FALSE(door_->AwaitEnd(absl::InfinitePast()));
  WriteAll(early.get(), Said("still here"));
  shutdown(early.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(early.get()), Said("still here"));
}

TEST_F(DoorTest, EndsWhatTheGuardRefusesWithAGoodbye) {
  const std::string settings = FrameOf(FrameType::kSettings, 0, 0);
  const std::string welcome = Said("welcome");
  std::promise<std::string> before;
  std::promise<std::string> after;
  Open([&](int fd) {
    WriteAll(fd, settings);
    std::string heard(welcome.size(), ' ');
    recv(fd, heard.data(), heard.size(), MSG_WAITALL);
    before.set_value(heard);
    after.set_value(ReadToEnd(fd));
  });
  const Descriptor client = Connect();
  std::string sent(settings.size(), ' ');
  ASSERT_EQ(recv(client.get(), sent.data(), sent.size(), MSG_WAITALL), ssize_t{9});
  EXPECT_EQ(sent, settings);
  WriteAll(client.get(), welcome);
  EXPECT_EQ(before.get_future().get(), welcome);
  WriteAll(client.get(), FrameOf(FrameType::kHeaders, 0, 1, std::string(20'000, 'h')));
  EXPECT_EQ(ReadToEnd(client.get()), GoAwayFrame(0, Refusal::kHeaderBlock));
  EXPECT_EQ(after.get_future().get(), "") << "nothing of what was refused";
  EXPECT_THAT(refusals_.Await(1), ElementsAre(Refusal::kHeaderBlock));
}

TEST_F(DoorTest, LetsInSoManyAndOthersWhenTheyHaveGone) {
  Open([](int fd) { WriteAll(fd, ReadToEnd(fd)); }, {.connections = 2});
  Descriptor first = Connect();
  Descriptor second = Connect();
  EXPECT_EQ(ReadToEnd(Connect().get()), "");
  EXPECT_THAT(refusals_.Await(1), ElementsAre(Refusal::kConnections));
  first.Reset();
  second.Reset();
  EXPECT_TRUE(door_->AwaitEnd(absl::InfiniteFuture()));
  const Descriptor later = Connect();
  WriteAll(later.get(), Said("me now"));
  shutdown(later.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(later.get()), Said("me now"));
}

TEST_F(DoorTest, TakesAProxysConnectionsForThoseOfManyPeers) {
  const auto echo = [](int fd) { WriteAll(fd, ReadToEnd(fd)); };
  const ConnectionLimits::Limits limits = {.peer_connections = 1};
  Open(echo, limits);
  const Descriptor first = Connect();
  EXPECT_EQ(ReadToEnd(Connect().get()), "");
  EXPECT_THAT(refusals_.Await(1), ElementsAre(Refusal::kPeerConnections));
  door_.reset();
  proxies_ = *AddressRanges::Parse("127.0.0.0/8");
  Open(echo, limits);
  const Descriptor second = Connect();
  const Descriptor third = Connect();
  for (const Descriptor* client : {&second, &third}) {
    WriteAll(client->get(), Said("by a proxy"));
    shutdown(client->get(), SHUT_WR);
    EXPECT_EQ(ReadToEnd(client->get()), Said("by a proxy"));
  }
}

TEST_F(DoorTest, TurnsCallsAwayWhileTheOthersGoOn) {
  const std::string settings = FrameOf(FrameType::kSettings, 0, 0);
  const auto call = [](uint32_t stream) {
    return FrameOf(FrameType::kHeaders, FrameHead::kEndHeaders, stream, "h");
  };
  Open(
      [&](int fd) {
        WriteAll(fd, settings);
        WriteAll(fd, ReadToEnd(fd));
      },
      {.calls = 1});
  const Descriptor client = Connect();
  WriteAll(client.get(), Said("") + call(1) + call(3));
  const std::string answers = settings + TurnedAwayAnswer(3);
  EXPECT_EQ(ReadExactly(client.get(), answers.size()), answers);
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(client.get()), Said("") + call(1) + call(3) + ResetFrame(3));
  EXPECT_THAT(refusals_.Await(1), ElementsAre(Refusal::kCalls));
}

TEST_F(DoorTest, TurnsManyCallsAwayInTheMiddleOfWhatWasSentAtOnce) {
  const std::string settings = FrameOf(FrameType::kSettings, 0, 0);
  std::promise<std::string> heard;
  Open(
      [&](int fd) {
        WriteAll(fd, settings);
        heard.set_value(ReadToEnd(fd));
      },
      {.calls = 1});
  const Descriptor client = Connect();
  const auto call = [](uint32_t stream) {
    return FrameOf(FrameType::kHeaders, FrameHead::kEndHeaders, stream, "headers");
  };
  std::string calls;
  std::string expected = Said("") + call(1);
  std::string answers = settings;
  calls = expected;
  constexpr uint32_t kLast = 801;
  for (uint32_t stream = 3; stream <= kLast; stream += 2) {
    absl::StrAppend(&calls, call(stream));
    absl::StrAppend(&answers, TurnedAwayAnswer(stream));
  }
  const std::string half = call(kLast + 2).substr(0, 12);
  WriteAll(client.get(), calls + half);
  const std::string told = ReadExactly(client.get(), answers.size());
  ASSERT_EQ(told.size(), answers.size());
  EXPECT_EQ(told, answers);
  WriteAll(client.get(), call(kLast + 2).substr(12));
  shutdown(client.get(), SHUT_WR);
  const std::string all = heard.get_future().get();
  // Reads come as they like; each is followed by the resets of the calls that it ends.
  size_t resets = 0;
  for (uint32_t stream = 3; stream <= kLast + 2; stream += 2) {
    const size_t headers = all.find(call(stream));
    const size_t reset = all.find(ResetFrame(stream));
    ASSERT_NE(headers, std::string::npos) << stream;
    ASSERT_NE(reset, std::string::npos) << stream;
    EXPECT_LT(headers, reset);
    ++resets;
  }
  EXPECT_EQ(all.size(), expected.size() + resets * (call(1).size() + ResetFrame(1).size()));
}

TEST_F(DoorTest, TurnsAwayWhoComesWhenDescriptorsHaveRunOutAndRecovers) {
  Open([](int fd) { WriteAll(fd, ReadToEnd(fd)); }, {}, /*start=*/false);
  std::vector<Descriptor> waiting;  // to be let in
  for (int i = 0; i < 40; ++i) waiting.push_back(Connect());
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const Descriptor lowest_free(dup(0));
  const rlimit none_left = {.rlim_cur = static_cast<rlim_t>(lowest_free.get()) + 1,
                            .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none_left), 0);
  Start();
  for (const Descriptor& client : waiting) EXPECT_EQ(ReadToEnd(client.get()), "");
  EXPECT_EQ(refusals_.Await(40), std::vector<Refusal>(40, Refusal::kDescriptors));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  const Descriptor later = Connect();
  WriteAll(later.get(), Said("me now"));
  shutdown(later.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(later.get()), Said("me now"));
}

TEST_F(DoorTest, HoldsUpCancelledCallsThatAllConnectionsTogetherMayNotPass) {
  const std::string bytes = Said("") + Resets(11);
  Open(Echo, kOneReset);
  const Descriptor first = Connect();
  WriteAll(first.get(), bytes);
  shutdown(first.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(first.get()), bytes);
  const Descriptor second = Connect();
  WriteAll(second.get(), bytes);
  char byte;
  EXPECT_EQ(recv(second.get(), &byte, 1, MSG_DONTWAIT), -1);
  const Descriptor third = Connect();
  WriteAll(third.get(), Said("") + Resets(10));
  shutdown(third.get(), SHUT_WR);
  EXPECT_EQ(ReadToEnd(third.get()), Said("") + Resets(10)) << "a few never wait";
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ReadExactly(second.get(), bytes.size()), bytes);
}

TEST_F(DoorTest, HoldsUpCallsThatAreTurnedAwayLikeThoseThatAreCancelled) {
  const std::string calls = Said("") + Calls(11);
  Open(Echo, {.calls = 0, .resets = kOneReset.resets});
  const Descriptor first = Connect();
  WriteAll(first.get(), calls);
  shutdown(first.get(), SHUT_WR);
  EXPECT_THAT(ReadToEnd(first.get()), StartsWith(calls));
  const Descriptor second = Connect();
  WriteAll(second.get(), calls);
  refusals_.Await(22);
  char byte;
  EXPECT_EQ(recv(second.get(), &byte, 1, MSG_DONTWAIT), -1);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ReadExactly(second.get(), calls.size()), calls);
}

TEST_F(DoorTest, WhatIsHeldIsNeverPassedOnOnceItsConnectionIsEnded) {
  std::atomic<bool> is_first = true;
  std::promise<void> refused;
  std::promise<std::string> heard;
  Open(
      [&](int fd) {
        if (is_first.exchange(false)) return WriteAll(fd, ReadToEnd(fd));
        refused.get_future().wait();
        shutdown(fd, SHUT_WR);  // a server that ends the connection
        heard.set_value(ReadToEnd(fd));
      },
      {.calls = 0, .resets = kOneReset.resets});
  const Descriptor first = Connect();
  WriteAll(first.get(), Said("") + Resets(600));
  shutdown(first.get(), SHUT_WR);
  ReadToEnd(first.get());
  const Descriptor second = Connect();
  WriteAll(second.get(), Said("") + Calls(11));
  refusals_.Await(11);
  refused.set_value();
  EXPECT_EQ(ReadToEnd(second.get()), "");
  EXPECT_EQ(heard.get_future().get(), "");
}

TEST_F(DoorTest, WritesALineOfEveryRefusal) {
  Open([](int fd) { ReadToEnd(fd); });
  const Descriptor client = Connect();
  WriteAll(client.get(), "GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(ReadToEnd(client.get()), "");
  door_.reset();
  log_.reset();
  EXPECT_THAT(
      log_text_.str(),
      ::testing::HasSubstr("warn refused at the door reason=not_http2 peer=ipv4:127.0.0.1"));
}

TEST_F(DoorTest, RefusesAPortThatIsInUse) {
  Open([](int) {});
  const auto second = Door::Open({.listen = door_->address(), .clock = &clock_, .log = log_.get()});
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              ::testing::HasSubstr(door_->address().ToString()));
}

}  // namespace
}  // namespace peerage
