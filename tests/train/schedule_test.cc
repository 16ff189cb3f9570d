#include "train/training/schedule.h"

#include <gtest/gtest.h>

namespace peerage::train {
namespace {

TEST(ScheduleTest, RisesOverTheWarmup) {
  const ScheduleSection schedule{.kind = ScheduleKind::kConstant, .steps = 10, .warmup_steps = 4};
  EXPECT_EQ(ScheduleFactor(schedule, 0), 0.25);
  EXPECT_EQ(ScheduleFactor(schedule, 3), 1);
  EXPECT_EQ(ScheduleFactor(schedule, 9), 1);
}

TEST(ScheduleTest, CosineFallsToTheFinalRatio) {
  const ScheduleSection schedule{
      .kind = ScheduleKind::kCosine, .steps = 12, .warmup_steps = 2, .final_ratio = 0.2};
  EXPECT_NEAR(ScheduleFactor(schedule, 6), 0.6, 1e-12);  // half of the way
  EXPECT_NEAR(ScheduleFactor(schedule, 11), 0.2, 1e-12);
  for (int step = 2; step < 11; ++step) {
    EXPECT_GT(ScheduleFactor(schedule, step), ScheduleFactor(schedule, step + 1)) << step;
  }
}

TEST(ScheduleTest, TrapezoidFallsInAStraightLine) {
  const ScheduleSection schedule{.kind = ScheduleKind::kTrapezoid,
                                 .steps = 10,
                                 .warmup_steps = 2,
                                 .decay_steps = 4,
                                 .final_ratio = 0};
  EXPECT_EQ(ScheduleFactor(schedule, 2), 1);
  EXPECT_EQ(ScheduleFactor(schedule, 5), 1);
  EXPECT_NEAR(ScheduleFactor(schedule, 6), 0.75, 1e-12);
  EXPECT_NEAR(ScheduleFactor(schedule, 9), 0, 1e-12);
}

}  // namespace
}  // namespace peerage::train
