#include "server/door/relay.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/door/own_frames.h"
#include "tests/support/fake_clock.h"
#include "tests/unit/door/frames.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::string kSettings = FrameOf(FrameType::kSettings, 0, 0);
const std::string kAckOfSettings = FrameOf(FrameType::kSettings, FrameHead::kAck, 0);

const ConnectionLimits::Limits kFewResets = {.resets = {.all = {.at_once = 1, .per_second = 0.01}}};

// Both ends of a stream that does not block.
std::pair<Descriptor, Descriptor> Pair() {
  int pair[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  return {Descriptor(pair[0]), Descriptor(pair[1])};
}

// A relay between a client and a server that the test is, with time that the test tells it.
class RelayTest : public ::testing::Test {
 protected:
  void Begin(const ConnectionLimits::Limits& limits = {}) {
    shared_ = std::make_unique<ConnectionLimits>(limits, clock_.Now());
    auto [client, clients_end] = Pair();
    auto [server, servers_end] = Pair();
    client_ = std::move(client);
    server_ = std::move(server);
    auto streams = std::make_pair(std::make_unique<PlainStream>(std::move(clients_end)),
                                  std::make_unique<PlainStream>(std::move(servers_end)));
    loop_->Run([&] {
      relay_ = std::make_unique<Relay>(
          Relay::Parts{.loop = loop_.get(),
                       .clock = &clock_,
                       .shared = shared_.get(),
                       .peer = "peer",
                       .client = std::move(streams.first),
                       .server = std::move(streams.second),
                       .on_refusal = [this](Refusal refusal) { refusals_.push_back(refusal); },
                       .on_end = [this] { ended_ = true; }});
    });
    WriteAll(client_, kPreface + kSettings);
    WriteAll(server_, kSettings);
    ReadAll(client_, kSettings.size());
    WriteAll(client_, kAckOfSettings);
    ReadAll(server_, (kPreface + kSettings + kAckOfSettings).size());
  }

  ~RelayTest() override {
    loop_->Run([this] { relay_.reset(); });
  }

  // Lets the loop do what it can.
  void Turn() {
    for (int i = 0; i < 3; ++i) loop_->Run([] {});
  }

  // Sends what is taken at once. How much that is.
  size_t Write(const Descriptor& to, absl::string_view bytes) {
    const ssize_t size = send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return size < 0 ? 0 : static_cast<size_t>(size);
  }

  void WriteAll(const Descriptor& to, absl::string_view bytes) {
    while (!bytes.empty()) {
      bytes.remove_prefix(Write(to, bytes));
      Turn();
    }
  }

  // Sends the same again and again until nobody takes any more. How much was taken.
  size_t Fill(const Descriptor& to, const std::string& frame) {
    size_t all = 0;
    for (int stuck = 0; stuck < 3;) {
      const size_t taken = Write(to, absl::string_view(frame).substr(all % frame.size()));
      all += taken;
      stuck = taken == 0 ? stuck + 1 : 0;
      Turn();
    }
    return all;
  }

  // So many bytes, or all until the end.
  std::string ReadAll(const Descriptor& from, size_t size) {
    std::string all;
    std::string part(64 << 10, ' ');
    while (all.size() < size) {
      const ssize_t read =
          recv(from.get(), part.data(), std::min(part.size(), size - all.size()), 0);
      if (read == 0) break;
      if (read > 0) all.append(part, 0, static_cast<size_t>(read));
      Turn();
    }
    return all;
  }

  // Cancels, or what looks like it, as often as is passed on at once.
  std::string Spend() {
    std::string resets;
    for (int i = 0; i < 11; ++i) resets += Reset(1);
    WriteAll(client_, resets);
    ReadAll(server_, resets.size());
    return resets;
  }

  // As if so many seconds went by.
  void Pass(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      clock_.Advance(absl::Seconds(1));
      loop_->Run([this] { relay_->OnTick(clock_.Now()); });
    }
  }

  std::vector<Refusal> Refusals() {
    std::vector<Refusal> refusals;
    loop_->Run([&] { refusals = refusals_; });
    return refusals;
  }

  FakeClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Start();
  std::unique_ptr<ConnectionLimits> shared_;
  Descriptor client_, server_;
  std::unique_ptr<Relay> relay_;
  std::vector<Refusal> refusals_;  // of the loop's thread
  bool ended_ = false;
};

TEST_F(RelayTest, ExcusesWhoIsNotReadBecauseTheServerReadsNothing) {
  Begin();
  WriteAll(client_, Call(1));
  // It ends in the middle of a frame, of which the rest waits in the system.
  Fill(client_, FrameOf(FrameType::kData, 0, 1, std::string(1 << 20, 'd')));
  Pass(60);
  EXPECT_THAT(Refusals(), IsEmpty());
  Pass(20);
  EXPECT_THAT(Refusals(), IsEmpty());
  Pass(1);
  EXPECT_THAT(Refusals(), ElementsAre(Refusal::kHalfFrame)) << "but not for ever";
}

TEST_F(RelayTest, ExcusesNobodyWhoTakesNothingHimself) {
  Begin();
  WriteAll(client_, Call(1));
  Fill(server_, FrameOf(FrameType::kData, 0, 1, std::string(1 << 14, 'd')));
  Fill(client_, FrameOf(FrameType::kData, 0, 1, std::string(1 << 20, 'd')));
  Pass(20);
  EXPECT_THAT(Refusals(), IsEmpty());
  Pass(1);
  EXPECT_THAT(Refusals(), ElementsAre(Refusal::kHalfFrame));
}

TEST_F(RelayTest, ExcusesWhoseCancelledCallsWaitForTheirTurn) {
  Begin(kFewResets);
  const std::string resets = Spend();
  const std::string half = FrameOf(FrameType::kData, 0, 1, "data").substr(0, 10);
  WriteAll(client_, resets + half);
  Pass(95);
  EXPECT_THAT(Refusals(), IsEmpty());
  Pass(10);  // its turn comes, and its frame is still not ended
  EXPECT_EQ(ReadAll(server_, resets.size() + half.size()), resets + half);
  Pass(21);
  EXPECT_THAT(Refusals(), ElementsAre(Refusal::kHalfFrame));
}

TEST_F(RelayTest, MakesRoomWhileNoCallRuns) {
  Begin();
  const std::string answer = FrameOf(FrameType::kHeaders, FrameHead::kEndHeaders, 1) +
                             FrameOf(FrameType::kData, FrameHead::kEndStream, 1);
  const auto make_room = [this] {
    clock_.Advance(absl::Seconds(1));
    const bool asked = shared_->idle().MakeRoom(clock_.Now());
    if (asked) loop_->Run([this] { relay_->MakeRoom(); });
    return asked;
  };
  WriteAll(client_, Call(1) + FrameOf(FrameType::kData, FrameHead::kEndStream, 1));
  EXPECT_FALSE(make_room());
  WriteAll(server_, answer);
  ReadAll(client_, answer.size());
  ASSERT_TRUE(make_room());
  EXPECT_THAT(Refusals(), ElementsAre(Refusal::kMadeRoom));
  const std::string goodbye = GoAwayFrame(1, Refusal::kMadeRoom);
  EXPECT_EQ(ReadAll(client_, goodbye.size() + 1), goodbye);
  EXPECT_TRUE(ended_);
  EXPECT_FALSE(make_room()) << "it is asked once";
}

TEST_F(RelayTest, StaysWhenACallBeginsBeforeItHearsThatItIsToMakeRoom) {
  Begin({.connections = 1});
  ASSERT_EQ(shared_->Begin("peer", clock_.Now()), std::nullopt);
  clock_.Advance(absl::Seconds(1));
  ASSERT_EQ(shared_->Begin("other", clock_.Now()), std::nullopt);
  WriteAll(client_, Call(1));
  loop_->Run([this] { relay_->MakeRoom(); });
  EXPECT_THAT(Refusals(), IsEmpty());
  EXPECT_FALSE(ended_);
  EXPECT_EQ(shared_->Begin("third", clock_.Now()), Refusal::kConnections);
}

TEST_F(RelayTest, EndsWhoHangsUpWhileHisCancelledCallsWaitForTheirTurn) {
  Begin(kFewResets);
  WriteAll(client_, Spend() + Call(3));
  client_ = Descriptor();
  Pass(1);
  EXPECT_EQ(ReadAll(server_, 1), "") << "the end";
}

TEST_F(RelayTest, EndsWhoHangsUpWhileTheServerReadsNothing) {
  Begin();
  const std::string call = Call(1);
  WriteAll(client_, call);
  const size_t taken = Fill(client_, FrameOf(FrameType::kData, 0, 1, std::string(1 << 20, 'd')));
  client_ = Descriptor();
  Pass(1);
  const size_t heard = ReadAll(server_, call.size() + taken).size();
  EXPECT_LT(heard, taken) << "what the client's socket held is not passed on";
}

TEST_F(RelayTest, HoldsOneReadForWhoTakesNothing) {
  Begin();
  WriteAll(client_, Call(1));
  Fill(server_, FrameOf(FrameType::kData, 0, 1, std::string(1 << 14, 'd')));
  Pass(1);
  EXPECT_GT(shared_->waiting_bytes(), 0u);
  EXPECT_LE(shared_->waiting_bytes(), OneWay::kReadBytes);
  loop_->Run([this] { relay_.reset(); });
  EXPECT_EQ(shared_->waiting_bytes(), 0u);
}

TEST_F(RelayTest, KeepsNoAnswersOfCallsTurnedAwayForWhoTakesNothing) {
  constexpr uint32_t kCalls = 900;
  Begin({.calls = 0});
  const std::string data = FrameOf(FrameType::kData, 0, 1, std::string(1 << 14, 'd'));
  const size_t before = Fill(server_, data);
  std::string calls;
  for (uint32_t i = 0; i < kCalls; ++i) calls += Call(2 * i + 1);
  WriteAll(client_, calls);
  Pass(1);
  EXPECT_LE(shared_->waiting_bytes(), OneWay::kReadBytes);
  std::string heard = ReadAll(client_, before);
  // The system may have taken a part of the last frame.
  const std::string rest = before % data.size() == 0 ? "" : data.substr(before % data.size());
  WriteAll(server_, rest);
  heard += ReadAll(client_, rest.size() + kCalls * TurnedAwayAnswer(1).size());
  for (uint32_t i = 0; i < kCalls; ++i) {
    const std::string answer = TurnedAwayAnswer(2 * i + 1);
    const size_t place = heard.find(answer);
    ASSERT_EQ(place % data.size(), 0u) << "the answer of call " << i << " is between frames";
    heard.erase(place, answer.size());
  }
  std::string frames;
  while (frames.size() < before) frames += data;
  EXPECT_TRUE(heard == frames);
}

TEST_F(RelayTest, EndsSlowReadersSoonerWhileMuchWaitsInAll) {
  Begin({.waiting_bytes = 1000});
  WriteAll(client_, Call(1));
  Fill(server_, FrameOf(FrameType::kData, 0, 1, std::string(1 << 14, 'd')));
  Pass(2);
  EXPECT_THAT(Refusals(), IsEmpty());
  Pass(1);
  EXPECT_THAT(Refusals(), ElementsAre(Refusal::kSlowReader));
}

// Those that are not may be tried again at once, by whoever follows the protocol.
TEST_F(RelayTest, SaysGoodbyeWithTheNewestStreamThatTheServerGets) {
  Begin();
  WriteAll(client_, Call(1));
  ReadAll(server_, Call(1).size());
  WriteAll(client_, Call(3) + FrameOf(FrameType::kHeaders, 0, 5, std::string(20'000, 'h')));
  const std::string goodbye = GoAwayFrame(1, Refusal::kHeaderBlock);
  EXPECT_EQ(ReadAll(client_, goodbye.size()), goodbye);
}

}  // namespace
}  // namespace peerage
