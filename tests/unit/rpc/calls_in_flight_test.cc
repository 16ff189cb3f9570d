#include "server/rpc/calls_in_flight.h"

#include <gtest/gtest.h>

#include <thread>

namespace peerage {
namespace {

TEST(CallsInFlightTest, WaitsForTheCallsOfTheMomentWhileOthersCome) {
  CallsInFlight calls;
  EXPECT_TRUE(calls.AwaitPresent(absl::InfinitePast()));
  const uint64_t before = calls.Begin();
  EXPECT_FALSE(calls.AwaitPresent(absl::InfinitePast()));

  // One more comes and stays once somebody waits; only then the first one ends.
  uint64_t after = 0;
  std::thread others([&] {
    do {
      after = calls.Begin();
      if (after == before + 1) calls.End(after);
    } while (after == before + 1);
    calls.End(before);
  });
  EXPECT_TRUE(calls.AwaitPresent(absl::InfiniteFuture()));
  others.join();

  EXPECT_FALSE(calls.AwaitPresent(absl::InfinitePast()));
  calls.End(after);
  EXPECT_TRUE(calls.AwaitPresent(absl::InfinitePast()));
}

}  // namespace
}  // namespace peerage
