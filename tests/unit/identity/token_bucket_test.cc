#include "server/identity/token_bucket.h"

#include <gtest/gtest.h>

namespace peerage {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(TokenBucketTest, GivesASecondsWorthAtOnceThenTheRate) {
  TokenBucket bucket;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(bucket.Take(1, 4, kStart), absl::ZeroDuration()) << i;
  EXPECT_EQ(bucket.Take(1, 4, kStart), absl::Milliseconds(250));
  EXPECT_EQ(bucket.Take(1, 4, kStart + absl::Milliseconds(249)), absl::Milliseconds(1));
  EXPECT_EQ(bucket.Take(1, 4, kStart + absl::Milliseconds(250)), absl::ZeroDuration());
  // A long pause saves no more than a second's worth.
  const absl::Time later = kStart + absl::Hours(1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(bucket.Take(1, 4, later), absl::ZeroDuration()) << i;
  EXPECT_GT(bucket.Take(1, 4, later), absl::ZeroDuration());
}

TEST(TokenBucketTest, LetsInWhatIsLargerThanItselfAndIsPaidBack) {
  TokenBucket bucket;
  EXPECT_EQ(bucket.Take(1000, 100, kStart), absl::ZeroDuration());
  EXPECT_EQ(bucket.Take(100, 100, kStart), absl::Seconds(10));
  EXPECT_EQ(bucket.Take(100, 100, kStart + absl::Seconds(10)), absl::ZeroDuration());
}

TEST(TokenBucketTest, GivesOneAtLeastHoweverSlow) {
  TokenBucket bucket;
  EXPECT_EQ(bucket.Take(1, 0.1, kStart), absl::ZeroDuration());
  EXPECT_EQ(bucket.Take(1, 0.1, kStart), absl::Seconds(10));
}

TEST(TokenBucketTest, TimeThatGoesBackGivesNothing) {
  TokenBucket bucket;
  EXPECT_EQ(bucket.Take(1, 1, kStart), absl::ZeroDuration());
  EXPECT_EQ(bucket.Take(1, 1, kStart - absl::Hours(1)), absl::Seconds(1));
  EXPECT_EQ(bucket.Take(1, 1, kStart), absl::Seconds(1));
}

}  // namespace
}  // namespace peerage
