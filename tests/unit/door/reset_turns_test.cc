#include "server/door/reset_turns.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

const absl::Time kStart = absl::UnixEpoch();

TEST(ResetTurnsTest, PassesThemAsTimeGoesBy) {
  ResetTurns turns({.all = {.at_once = 10, .per_second = 5}}, kStart);
  EXPECT_EQ(turns.Take("a", 20, kStart), ResetTurns::kNow) << "whole reads; the next ones wait";
  const ResetTurns::Turn turn = turns.Take("b", 1, kStart);
  EXPECT_NE(turn, ResetTurns::kNow);
  EXPECT_FALSE(turns.HasCome(turn, kStart + absl::Seconds(2)));
  EXPECT_TRUE(turns.HasCome(turn, kStart + absl::Seconds(3)));
}

TEST(ResetTurnsTest, OnePeerLeavesSomethingToOthers) {
  ResetTurns turns({}, kStart);
  absl::Time now = kStart;
  for (int second = 0; second < 60; ++second, now += absl::Seconds(1)) {
    for (int connection = 0; connection < 24; ++connection) turns.Take("many", 95, now);
    EXPECT_EQ(turns.Take("few", 100, now), ResetTurns::kNow) << second;
  }
}

TEST(ResetTurnsTest, WhoHasWaitedLongestComesFirst) {
  ResetTurns turns(
      {.all = {.at_once = 100, .per_second = 100}, .of_peer = {.at_once = 10, .per_second = 10}},
      kStart);
  EXPECT_EQ(turns.Take("a", 10, kStart), ResetTurns::kNow);
  const ResetTurns::Turn first = turns.Take("a", 10, kStart);
  const ResetTurns::Turn second = turns.Take("a", 10, kStart);
  const absl::Time later = kStart + absl::Seconds(1);
  EXPECT_NE(turns.Take("a", 10, later), ResetTurns::kNow) << "who comes now passes nobody";
  EXPECT_FALSE(turns.HasCome(second, later));
  EXPECT_TRUE(turns.HasCome(first, later));
  EXPECT_TRUE(turns.HasCome(second, kStart + absl::Seconds(2)));
}

TEST(ResetTurnsTest, ATurnThatIsGivenUpHoldsNobodyUp) {
  ResetTurns turns({.of_peer = {.at_once = 10, .per_second = 10}}, kStart);
  EXPECT_EQ(turns.Take("a", 10, kStart), ResetTurns::kNow);
  const ResetTurns::Turn gone = turns.Take("a", 10, kStart);
  const ResetTurns::Turn next = turns.Take("a", 10, kStart);
  turns.GiveUp(gone);
  EXPECT_TRUE(turns.HasCome(next, kStart + absl::Seconds(1)));
}

TEST(ResetTurnsTest, PeersThatAreForgottenGetNoMoreThanTheyHad) {
  ResetTurns turns(
      {.all = {.at_once = 1e6, .per_second = 1e6}, .of_peer = {.at_once = 10, .per_second = 10}},
      kStart);
  for (int peer = 0; peer < 3000; ++peer) {
    EXPECT_EQ(turns.Take(absl::StrCat(peer), 10, kStart), ResetTurns::kNow);
  }
  for (int peer = 0; peer < 3000; ++peer) {
    EXPECT_NE(turns.Take(absl::StrCat(peer), 10, kStart), ResetTurns::kNow) << peer;
  }
}

}  // namespace
}  // namespace peerage
