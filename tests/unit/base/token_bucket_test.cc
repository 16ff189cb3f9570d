#include "base/token_bucket.h"

#include <gtest/gtest.h>

namespace peerage {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(TokenBucketTest, GivesASecondsWorthAtOnceThenTheRate) {
  TokenBucket bucket({.at_once = 4, .per_second = 4}, kStart);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(bucket.TakeOrWait(1, kStart), absl::ZeroDuration()) << i;
  EXPECT_EQ(bucket.TakeOrWait(1, kStart), absl::Milliseconds(250));
  EXPECT_EQ(bucket.TakeOrWait(1, kStart + absl::Milliseconds(249)), absl::Milliseconds(1));
  EXPECT_EQ(bucket.TakeOrWait(1, kStart + absl::Milliseconds(250)), absl::ZeroDuration());
  // A long pause saves no more than a second's worth.
  const absl::Time later = kStart + absl::Hours(1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(bucket.TakeOrWait(1, later), absl::ZeroDuration()) << i;
  EXPECT_GT(bucket.TakeOrWait(1, later), absl::ZeroDuration());
}

TEST(TokenBucketTest, LetsInWhatIsLargerThanItselfAndIsPaidBack) {
  TokenBucket bucket({.at_once = 100, .per_second = 100}, kStart);
  EXPECT_EQ(bucket.TakeOrWait(1000, kStart), absl::ZeroDuration());
  EXPECT_EQ(bucket.TakeOrWait(100, kStart), absl::Seconds(10));
  EXPECT_EQ(bucket.TakeOrWait(100, kStart + absl::Seconds(10)), absl::ZeroDuration());
}

TEST(TokenBucketTest, GivesOneHoweverSlow) {
  TokenBucket bucket({.at_once = 1, .per_second = 0.1}, kStart);
  EXPECT_EQ(bucket.TakeOrWait(1, kStart), absl::ZeroDuration());
  EXPECT_EQ(bucket.TakeOrWait(1, kStart), absl::Seconds(10));
}

TEST(TokenBucketTest, TimeThatGoesBackGivesNothing) {
  TokenBucket bucket({.at_once = 1, .per_second = 1}, kStart);
  EXPECT_EQ(bucket.TakeOrWait(1, kStart), absl::ZeroDuration());
  EXPECT_EQ(bucket.TakeOrWait(1, kStart - absl::Hours(1)), absl::Seconds(1));
  EXPECT_EQ(bucket.TakeOrWait(1, kStart), absl::Seconds(1));
}

}  // namespace
}  // namespace peerage
