#include "server/door/frame_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "tests/unit/door/frames.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;

constexpr uint8_t kEndStream = FrameHead::kEndStream;
constexpr uint8_t kEndHeaders = FrameHead::kEndHeaders;
constexpr uint8_t kAck = FrameHead::kAck;

std::string Answer(uint32_t stream) {
  return FrameOf(FrameType::kHeaders, kEndHeaders | kEndStream, stream, "trailers");
}

class FrameGuardTest : public ::testing::Test {
 protected:
  FrameGuardTest() { Begin({}); }

  // A connection that has shaken hands.
  void Begin(const FrameLimits& limits, int calls = 4096) {
    guard_.reset();
    shared_ = std::make_unique<ConnectionLimits>(ConnectionLimits::Limits{.calls = calls}, now_);
    guard_ = std::make_unique<FrameGuard>(limits, shared_.get(), "peer", now_);
    EXPECT_EQ(Client(kPreface + FrameOf(FrameType::kSettings, 0, 0)), std::nullopt);
    Server(FrameOf(FrameType::kSettings, 0, 0));
    EXPECT_EQ(Client(FrameOf(FrameType::kSettings, kAck, 0)), std::nullopt);
  }

  std::optional<Refusal> Client(const std::string& bytes) {
    return guard_->FromClient(bytes, now_);
  }
  void Server(const std::string& bytes) { guard_->FromServer(bytes, now_); }

  // How many of these in a row are let pass.
  int Passed(const std::string& frame, Refusal expected) {
    for (int i = 0; i < 100'000; ++i) {
      if (const auto refusal = Client(frame)) {
        EXPECT_EQ(*refusal, expected);
        return i;
      }
    }
    return -1;
  }

  absl::Time now_ = absl::FromUnixSeconds(1000);
  std::unique_ptr<ConnectionLimits> shared_;
  std::unique_ptr<FrameGuard> guard_;
};

TEST_F(FrameGuardTest, CountsCallsUntilBothSidesHaveEndedThem) {
  EXPECT_EQ(Client(Call(1) + Call(3, kEndStream) + Call(5)), std::nullopt);
  EXPECT_EQ(guard_->calls(), 3u);
  Server(Answer(3));
  EXPECT_EQ(guard_->calls(), 2u);
  Server(Answer(1));
  EXPECT_EQ(guard_->calls(), 2u) << "the client goes on";
  EXPECT_EQ(Client(FrameOf(FrameType::kData, kEndStream, 1)), std::nullopt);
  EXPECT_EQ(guard_->calls(), 1u);
  Server(Reset(5));
  EXPECT_EQ(guard_->calls(), 0u);
  EXPECT_EQ(shared_->calls(), 0);
  EXPECT_EQ(guard_->newest_stream(), 5u);
}

TEST_F(FrameGuardTest, GivesItsCallsBackWhenItEnds) {
  EXPECT_EQ(Client(Call(1) + Call(3) + Reset(1)), std::nullopt);
  EXPECT_EQ(shared_->calls(), 1);
  guard_.reset();
  EXPECT_EQ(shared_->calls(), 0);
}

TEST_F(FrameGuardTest, RefusesALargeHeaderBlockBeforeItComes) {
  const std::string fits(FrameLimits().header_block_bytes - FrameHead::kBytes, 'h');
  EXPECT_EQ(Client(FrameOf(FrameType::kHeaders, kEndHeaders, 1, fits)), std::nullopt);
  const std::string head = FrameOf(FrameType::kHeaders, kEndHeaders, 3, fits + "h").substr(0, 9);
  EXPECT_EQ(Client(head), Refusal::kHeaderBlock);
}

TEST_F(FrameGuardTest, RefusesAHeaderBlockThatGrowsByContinuation) {
  EXPECT_EQ(Client(FrameOf(FrameType::kHeaders, 0, 1, "h")), std::nullopt);
  // Empty ones, too: they have a head to be read.
  const int passed = Passed(FrameOf(FrameType::kContinuation, 0, 1), Refusal::kHeaderBlock);
  EXPECT_EQ(passed, (16 * 1024 - 10) / 9);
}

TEST_F(FrameGuardTest, BoundsStreamsWhetherSettingsWereAcknowledgedOrNot) {
  Begin({.streams = 2});
  EXPECT_EQ(Client(Call(1) + Call(3)), std::nullopt);
  Server(Answer(1) + Reset(1));
  EXPECT_EQ(Client(Call(5)), std::nullopt);
  EXPECT_EQ(Client(Call(7)), Refusal::kStreams);
}

TEST_F(FrameGuardTest, BoundsResetsByTime) {
  auto call_and_reset = [stream = 1u]() mutable {
    const std::string bytes = Call(stream) + Reset(stream);
    stream += 2;
    return bytes;
  };
  for (int i = 0; i < 600; ++i) ASSERT_EQ(Client(call_and_reset()), std::nullopt) << i;
  now_ += absl::Seconds(1);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(Client(call_and_reset()), std::nullopt) << i;
  EXPECT_EQ(Client(call_and_reset()), Refusal::kResets);
}

TEST_F(FrameGuardTest, LetsAGatewayCancelWhatHasLastedOrIsBeingAnswered) {
  uint32_t stream = 1;
  for (int second = 0; second < 20; ++second) {
    std::string calls, answers, resets;
    for (int i = 0; i < 500; ++i, stream += 2) {
      calls += Call(stream);
      // A half of them in the middle of their answer.
      if (i % 2 == 0) answers += FrameOf(FrameType::kData, 0, stream, "token");
      if (i % 2 == 0) resets += Reset(stream);
    }
    ASSERT_EQ(Client(calls), std::nullopt) << second;
    Server(answers);
    ASSERT_EQ(Client(resets), std::nullopt) << second;
    now_ += absl::Seconds(1);
    std::string others;  // when nobody waits for them any longer
    for (uint32_t other = stream - 998; other < stream; other += 4) others += Reset(other);
    ASSERT_EQ(Client(others), std::nullopt) << second;
    ASSERT_EQ(guard_->calls(), 0u);
    EXPECT_EQ(guard_->TakeResets(), 0) << "nor do others wait for these";
  }
  for (int i = 0; i < 600; ++i, stream += 2) {
    ASSERT_EQ(Client(Call(stream) + Reset(stream)), std::nullopt) << i;
  }
  EXPECT_EQ(Client(Call(stream) + Reset(stream)), Refusal::kResets) << "in haste as ever";
  EXPECT_EQ(guard_->TakeResets(), 601);
}

TEST_F(FrameGuardTest, RefusalsThatAreNoAnswersLetNobodyCancelMore) {
  uint32_t stream = 1;
  std::optional<Refusal> refusal;
  for (; stream < 5000 && !refusal.has_value(); stream += 2) {
    EXPECT_EQ(Client(Call(stream)), std::nullopt);
    Server(Answer(stream));
    refusal = Client(Reset(stream));
  }
  EXPECT_EQ(refusal, Refusal::kResets);
  EXPECT_EQ(stream, 2 * 601 + 1u);
}

TEST_F(FrameGuardTest, BoundsEveryKindOfFrameThatCostsWithoutACall) {
  const auto is_bounded = [this](const std::string& frame, Refusal refusal) {
    Begin({});
    const int passed = Passed(frame, refusal);
    EXPECT_GE(passed, 99) << TextOf(refusal).label;
    EXPECT_LE(passed, 4000) << TextOf(refusal).label;
  };
  is_bounded(FrameOf(FrameType::kSettings, 0, 0), Refusal::kSettings);
  is_bounded(FrameOf(FrameType::kSettings, kAck, 0), Refusal::kSettings);
  is_bounded(FrameOf(FrameType::kPing, 0, 0, "12345678"), Refusal::kPings);
  is_bounded(FrameOf(FrameType::kPing, kAck, 0, "12345678"), Refusal::kPings);
  is_bounded(FrameOf(FrameType::kPriority, 0, 1, "12345"), Refusal::kPriorities);
  is_bounded(FrameOf(FrameType::kWindowUpdate, 0, 0, "1234"), Refusal::kWindowUpdates);
  is_bounded(FrameOf(FrameType::kData, 0, 1), Refusal::kEmptyData);
  is_bounded(FrameOf(FrameType::kGoAway, 0, 0, "12345678"), Refusal::kStrayFrames);
  is_bounded(FrameOf(static_cast<FrameType>(0x42), 0, 0), Refusal::kStrayFrames);
  is_bounded(Call(2), Refusal::kStrayFrames);
}

TEST_F(FrameGuardTest, LetsPingsAndWindowUpdatesPassThatAnswerWhatTheServerSends) {
  const std::string data = FrameOf(FrameType::kData, 0, 1, "token");
  for (int i = 0; i < 20'000; ++i) {
    Server(data + FrameOf(FrameType::kPing, 0, 0, "12345678"));
    ASSERT_EQ(Client(FrameOf(FrameType::kPing, 0, 0, "12345678") +
                     FrameOf(FrameType::kPing, kAck, 0, "12345678") +
                     FrameOf(FrameType::kWindowUpdate, 0, 0, "1234") +
                     FrameOf(FrameType::kWindowUpdate, 0, 1, "1234")),
              std::nullopt)
        << i;
  }
}

TEST_F(FrameGuardTest, TurnsCallsAwayThatAreTooManyInAll) {
  Begin({}, /*calls=*/2);
  EXPECT_EQ(Client(Call(1) + Call(3) + Call(5) + Call(7)), std::nullopt);
  EXPECT_THAT(guard_->TakeTurnedAway(), ElementsAre(5, 7));
  EXPECT_THAT(guard_->TakeTurnedAway(), ElementsAre());
  EXPECT_EQ(guard_->calls(), 2u);
  Server(Reset(1));
  EXPECT_EQ(Client(Call(9)), std::nullopt);
  EXPECT_THAT(guard_->TakeTurnedAway(), ElementsAre());
}

TEST_F(FrameGuardTest, EndsWhoGoesOnAfterCallsWereTurnedAway) {
  Begin({}, /*calls=*/0);
  uint32_t stream = 1;
  std::optional<Refusal> refusal;
  for (; stream < 10'000 && !refusal.has_value(); stream += 2) refusal = Client(Call(stream));
  EXPECT_EQ(refusal, Refusal::kCalls);
  EXPECT_EQ(guard_->TakeTurnedAway().size(), 1000u);
}

TEST_F(FrameGuardTest, WaitsForTheHandshakeTheFirstCallAndTheNextOneForSoLong) {
  const FrameLimits limits;
  const absl::Duration little = absl::Milliseconds(1);
  FrameGuard silent(limits, shared_.get(), "peer", now_);
  EXPECT_EQ(silent.AtTime(now_ + limits.handshake), std::nullopt);
  EXPECT_EQ(silent.AtTime(now_ + limits.handshake + little), Refusal::kHandshake);
  EXPECT_EQ(guard_->AtTime(now_ + limits.first_call), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + limits.first_call + little), Refusal::kFirstCall);
  EXPECT_EQ(Client(Call(1)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Hours(24)), std::nullopt) << "a call may last";
  now_ += absl::Hours(24);
  EXPECT_EQ(Client(Reset(1)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + limits.idle), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + limits.idle + little), Refusal::kIdle);
}

TEST_F(FrameGuardTest, EndsWhoNeverAcknowledgesSettings) {
  Server(FrameOf(FrameType::kSettings, 0, 0) + FrameOf(FrameType::kSettings, kAck, 0));
  EXPECT_EQ(Client(Call(1)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Seconds(20)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Seconds(21)), Refusal::kUnacked);
  EXPECT_EQ(Client(FrameOf(FrameType::kSettings, kAck, 0)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Seconds(21)), std::nullopt);
}

TEST_F(FrameGuardTest, EndsWhoBeginsAFrameOrAHeaderBlockAndDoesNotEndIt) {
  const absl::Duration too_long = FrameLimits().frame + absl::Milliseconds(1);
  EXPECT_EQ(Client(Call(1) + FrameOf(FrameType::kData, 0, 1, "data").substr(0, 10)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + FrameLimits().frame), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + too_long), Refusal::kHalfFrame);
  now_ += absl::Seconds(15);
  EXPECT_EQ(Client("ata" + FrameOf(FrameType::kHeaders, 0, 3, "h")), std::nullopt);
  // What drips does not win time.
  now_ += absl::Seconds(15);
  EXPECT_EQ(Client(FrameOf(FrameType::kContinuation, 0, 3, "h")), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Seconds(6)), Refusal::kHalfFrame);
  EXPECT_EQ(Client(FrameOf(FrameType::kContinuation, kEndHeaders, 3, "h")), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Seconds(6)), std::nullopt);
}

TEST_F(FrameGuardTest, CountsTheTimeOfAFrameFromItsFirstByte) {
  EXPECT_EQ(Client(Call(1)), std::nullopt);
  now_ += absl::Minutes(10);
  EXPECT_EQ(Client(FrameOf(FrameType::kData, 0, 1, "d").substr(0, 5)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + FrameLimits().frame), std::nullopt);
  now_ += absl::Seconds(15);
  EXPECT_EQ(Client(FrameOf(FrameType::kData, 0, 1, "d").substr(5, 4)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Seconds(6)), Refusal::kHalfFrame) << "its head took long";
}

TEST_F(FrameGuardTest, JudgesNobodyByTimeInWhichHeIsNotHeard) {
  const FrameLimits limits;
  const std::string half = FrameOf(FrameType::kData, 0, 1, "data").substr(0, 10);
  EXPECT_EQ(Client(Call(1) + half), std::nullopt);
  Server(FrameOf(FrameType::kSettings, 0, 0));
  now_ += absl::Seconds(15);
  guard_->Excuse(absl::InfiniteDuration(), now_);
  now_ += absl::Hours(1);
  EXPECT_EQ(guard_->AtTime(now_), std::nullopt);
  guard_->Excuse(absl::ZeroDuration(), now_);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Seconds(5)), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + absl::Seconds(6)), Refusal::kUnacked);
  EXPECT_EQ(Client("ata" + FrameOf(FrameType::kSettings, kAck, 0) + half), std::nullopt);
  guard_->Excuse(limits.excuse, now_);
  now_ += limits.excuse;
  EXPECT_EQ(guard_->AtTime(now_ + limits.frame), std::nullopt);
  EXPECT_EQ(guard_->AtTime(now_ + limits.frame + absl::Seconds(1)), Refusal::kHalfFrame)
      << "nobody is excused for ever";
}

TEST_F(FrameGuardTest, RefusesWhatIsNotHttp2) {
  FrameGuard guard({}, shared_.get(), "peer", now_);
  EXPECT_EQ(guard.FromClient("GET / HTTP/1.1\r\n", now_), Refusal::kNotHttp2);
}

TEST_F(FrameGuardTest, KnowsTheNewestStreamOfWhatItHasLetPass) {
  EXPECT_EQ(guard_->newest_stream(), 0u);
  EXPECT_EQ(Client(Call(1) + Call(3) + Call(5).substr(0, 12)), std::nullopt);
  EXPECT_EQ(guard_->newest_stream(), 3u) << "the headers of the next one are not there";
  EXPECT_EQ(Client(Call(5).substr(12) + FrameOf(FrameType::kHeaders, 0, 7, "h")), std::nullopt);
  EXPECT_EQ(guard_->newest_stream(), 5u);
  const std::string large(FrameLimits().header_block_bytes, 'h');
  EXPECT_EQ(Client(FrameOf(FrameType::kContinuation, kEndHeaders, 7) + Call(9) +
                   FrameOf(FrameType::kHeaders, 0, 11, large)),
            Refusal::kHeaderBlock);
  EXPECT_EQ(guard_->newest_stream(), 5u) << "nothing of a read that is refused is passed on";
}

TEST_F(FrameGuardTest, AddsFramesOnlyBetweenFramesAndHeaderBlocks) {
  EXPECT_TRUE(guard_->MayAddToClient());
  const std::string half = Answer(1).substr(0, 12);
  Server(half);
  EXPECT_FALSE(guard_->MayAddToClient());
  Server(Answer(1).substr(12));
  EXPECT_TRUE(guard_->MayAddToClient());
  Server(FrameOf(FrameType::kHeaders, 0, 1, "h"));
  EXPECT_FALSE(guard_->MayAddToClient());
  Server(FrameOf(FrameType::kContinuation, kEndHeaders, 1, "h"));
  EXPECT_TRUE(guard_->MayAddToClient());
}

TEST_F(FrameGuardTest, FindsThePlaceBehindTheLastWholeFrameOrHeaderBlock) {
  const auto place_in = [this](const std::string& bytes) {
    EXPECT_EQ(Client(bytes), std::nullopt);
    return guard_->PlaceForFrame();
  };
  const std::string call = Call(1);
  EXPECT_EQ(place_in(call), call.size());
  EXPECT_EQ(place_in(Call(3).substr(0, 12)), size_t{0});
  EXPECT_EQ(place_in(Call(3).substr(12, 1)), std::nullopt);
  EXPECT_EQ(place_in(Call(3).substr(13) + Call(5) + Call(7).substr(0, 5)), 3 + call.size());
  EXPECT_EQ(place_in(Call(7).substr(5)), call.size() - 5);
  EXPECT_EQ(place_in(FrameOf(FrameType::kHeaders, 0, 9, "h")), size_t{0});
  EXPECT_EQ(place_in(FrameOf(FrameType::kContinuation, 0, 9)), std::nullopt);
  EXPECT_EQ(place_in(FrameOf(FrameType::kContinuation, kEndHeaders, 9) + "\1"), size_t{9});
}

TEST_F(FrameGuardTest, TurnsACallAwayOnceItsHeadersAreAllThere) {
  Begin({}, /*calls=*/0);
  EXPECT_EQ(Client(FrameOf(FrameType::kHeaders, 0, 1, "h")), std::nullopt);
  EXPECT_THAT(guard_->TakeTurnedAway(), ElementsAre());
  const std::string rest = FrameOf(FrameType::kContinuation, kEndHeaders, 1, "h");
  EXPECT_EQ(Client(rest.substr(0, 9)), std::nullopt);
  EXPECT_THAT(guard_->TakeTurnedAway(), ElementsAre());
  EXPECT_EQ(Client(rest.substr(9) + Call(3).substr(0, 12)), std::nullopt);
  EXPECT_THAT(guard_->TakeTurnedAway(), ElementsAre(1));
}

}  // namespace
}  // namespace peerage
