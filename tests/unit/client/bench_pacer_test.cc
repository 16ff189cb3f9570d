#include <gtest/gtest.h>

#include <optional>
#include <queue>
#include <vector>

#include "client/bench/pacer.h"

namespace peerage::client {
namespace {

absl::Duration Ms(double ms) { return absl::Milliseconds(ms); }

std::vector<absl::Duration> Every(absl::Duration interval, int count) {
  std::vector<absl::Duration> arrivals;
  for (int i = 0; i < count; ++i) arrivals.push_back(i * interval);
  return arrivals;
}

TEST(PacerTest, OpensCallsWhenTheyAreDueWhateverRuns) {
  Pacer pacer({.request_rate = 100}, Every(Ms(10), 3));
  EXPECT_EQ(pacer.TakeDue(Ms(0))->call, 0);
  EXPECT_FALSE(pacer.TakeDue(Ms(9)).has_value());
  EXPECT_EQ(pacer.NextDue(), Ms(10));
  EXPECT_EQ(pacer.TakeDue(Ms(25))->intended, Ms(10));
  EXPECT_EQ(pacer.TakeDue(Ms(25))->intended, Ms(20));
  EXPECT_EQ(pacer.NextDue(), absl::InfiniteDuration());
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(pacer.done());
    pacer.End(Ms(30));
  }
  EXPECT_TRUE(pacer.done());
}

TEST(PacerTest, WaitsForASlotButNotWithTheClock) {
  Pacer pacer({.request_rate = 100, .max_concurrency = 1}, Every(Ms(10), 2));
  ASSERT_TRUE(pacer.TakeDue(Ms(0)).has_value());
  EXPECT_FALSE(pacer.TakeDue(Ms(500)).has_value());
  EXPECT_EQ(pacer.NextDue(), absl::InfiniteDuration());
  pacer.End(Ms(1000));
  // It was due at 10 ms: what waited for the slot counts.
  const std::optional<DueCall> call = pacer.TakeDue(Ms(1000));
  EXPECT_EQ(call->due, Ms(10));
  EXPECT_EQ(call->intended, Ms(10));
}

TEST(PacerTest, ClosesTheLoopByTheSlotThatBecameFree) {
  Pacer pacer({.max_concurrency = 2}, std::vector<absl::Duration>(4));
  ASSERT_TRUE(pacer.TakeDue(Ms(0)).has_value());
  ASSERT_TRUE(pacer.TakeDue(Ms(0)).has_value());
  EXPECT_FALSE(pacer.TakeDue(Ms(1)).has_value());
  pacer.End(Ms(7));
  pacer.End(Ms(9));
  // Taken late: the user would have sent it when the answer before it was there.
  EXPECT_EQ(pacer.TakeDue(Ms(20))->intended, Ms(7));
  EXPECT_EQ(pacer.TakeDue(Ms(20))->intended, Ms(9));
}

TEST(PacerTest, HoldsTheSlotOfWhatIsTriedAgain) {
  Pacer pacer({.max_concurrency = 1}, std::vector<absl::Duration>(2));
  std::optional<DueCall> call = pacer.TakeDue(Ms(3));
  ++call->retries;
  pacer.Retry(*call, Ms(50));
  EXPECT_EQ(pacer.NextDue(), Ms(50));
  EXPECT_FALSE(pacer.TakeDue(Ms(49)).has_value());
  EXPECT_FALSE(pacer.done());
  const std::optional<DueCall> again = pacer.TakeDue(Ms(60));
  EXPECT_EQ(again->call, 0);
  EXPECT_EQ(again->intended, Ms(0));
  EXPECT_EQ(again->retries, 1);
  pacer.End(Ms(70));
  EXPECT_EQ(pacer.TakeDue(Ms(70))->call, 1);
}

TEST(PacerTest, BeginsNothingOnceItIsStopped) {
  Pacer pacer({.request_rate = 100}, Every(Ms(10), 3));
  const DueCall call = *pacer.TakeDue(Ms(0));
  ASSERT_TRUE(pacer.TakeDue(Ms(10)).has_value());
  pacer.Retry(call, Ms(20));
  pacer.Stop();
  EXPECT_FALSE(pacer.TakeDue(Ms(99)).has_value());
  EXPECT_FALSE(pacer.done());
  pacer.End(Ms(99));
  EXPECT_TRUE(pacer.done());
}

// A server that serves one call at a time in 1 ms, but stands still for a second: latencies of all
// calls that came meanwhile must show it, although only one is ever at the server.
TEST(PacerTest, LetsNoStallHide) {
  Pacer pacer({.request_rate = 100, .max_concurrency = 1}, Every(Ms(10), 200));
  std::vector<absl::Duration> latencies;
  absl::Duration now;
  while (!pacer.done()) {
    const std::optional<DueCall> call = pacer.TakeDue(now);
    if (!call.has_value()) {
      now = pacer.NextDue();
      continue;
    }
    now += call->call == 50 ? absl::Seconds(1) : Ms(1);
    pacer.End(now);
    latencies.push_back(now - call->intended);
  }
  ASSERT_EQ(latencies.size(), 200);
  EXPECT_EQ(latencies[49], Ms(1));
  EXPECT_EQ(latencies[50], Ms(1000));
  // The next came 10 ms later, and waited for all that was left; so on, until the queue is gone.
  EXPECT_EQ(latencies[51], Ms(991));
  EXPECT_EQ(latencies[100], Ms(1000 - 50 * 9));
  EXPECT_EQ(latencies[199], Ms(1));
}

}  // namespace
}  // namespace peerage::client
