#include "server/log/line_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace peerage {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Time kStart = absl::UnixEpoch();

int TakeMany(LineBudget& budget, absl::string_view kind, absl::Time now) {
  int taken = 0;
  for (int i = 0; i < 100; ++i) taken += budget.Take(kind, now) ? 1 : 0;
  return taken;
}

TEST(LineBudgetTest, GivesEachKindItsLinesInEachSecond) {
  LineBudget budget(10);
  EXPECT_EQ(TakeMany(budget, "a", kStart), 10);
  EXPECT_EQ(TakeMany(budget, "b", kStart), 10);
  EXPECT_EQ(TakeMany(budget, "a", kStart + absl::Milliseconds(999)), 0);
  EXPECT_EQ(TakeMany(budget, "a", kStart + absl::Seconds(1)), 10);
}

TEST(LineBudgetTest, CountsWhatItLeavesOutUntilThatIsTold) {
  LineBudget budget(10);
  EXPECT_THAT(budget.TakeLeftOut(absl::InfiniteFuture()), IsEmpty());
  TakeMany(budget, "a", kStart);
  EXPECT_THAT(budget.TakeLeftOut(kStart), IsEmpty()) << "its second is not over";
  TakeMany(budget, "a", kStart + absl::Seconds(2));
  TakeMany(budget, "b", kStart + absl::Seconds(2));

  const auto told = budget.TakeLeftOut(kStart + absl::Seconds(3));
  ASSERT_THAT(told, SizeIs(2));
  EXPECT_EQ(told[0].kind, "a");
  EXPECT_EQ(told[0].lines, 180);
  EXPECT_EQ(told[1].lines, 90);
  EXPECT_THAT(budget.TakeLeftOut(absl::InfiniteFuture()), IsEmpty());
}

}  // namespace
}  // namespace peerage
