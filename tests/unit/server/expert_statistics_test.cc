#include "server/experts/expert_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "model/experts/expert_usage.h"
#include "tests/support/fake_model.h"

namespace peerage {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr absl::Duration kSlice = ExpertStatistics::kSlice;
const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

// Counts what a test tells it to.
class CountingModel final : public LanguageModel {
 public:
  explicit CountingModel(ExpertLayer layer = {.num_experts = 3, .heads = 1, .top_k = 1})
      : counts_(layer.num_experts), sub_keys_(size_t{2} * layer.num_sub_keys) {
    description_.expert_layers = {layer};
  }

  const ExpertLayer& layer() const { return description_.expert_layers[0]; }

  void Pick(uint32_t expert, float weight) {
    ++totals_.tokens;
    ++totals_.step_distinct;
    totals_.bytes_read += 64;
    totals_.kept_mass.Add(weight);
    totals_.router_entropy.Add(weight / 2);
    ++counts_[expert].selections;
    counts_[expert].score += ExpertScore(weight);
    totals_.squared_scores += absl::uint128(ExpertScore(weight)) * ExpertScore(weight);
    for (uint32_t half = 0, n = layer().num_sub_keys; n > 0 && half < 2; ++half) {
      ++sub_keys_[half * n + (half == 0 ? expert / n : expert % n)];
    }
  }
  void SetCount(uint32_t expert, ExpertCount count) { counts_[expert] = count; }

  const ModelDescription& description() const override { return description_; }
  const ModelCapacity& capacity() const override { return capacity_; }
  void Open(SlotId, const SlotState&) override {}
  void Close(SlotId) override {}
  absl::StatusOr<StepOutput> Step(const StepInput&) override { return StepOutput{}; }
  UsageTotals ReadUsage(int, absl::Span<ExpertCount> counts) override {
    std::copy_n(counts_.begin(), counts.size(), counts.begin());
    return totals_;
  }
  void ReadSubKeys(int, absl::Span<uint64_t> counts) override {
    std::copy_n(sub_keys_.begin(), counts.size(), counts.begin());
  }
  void ClearUsage() override {
    totals_ = {};
    counts_.assign(counts_.size(), {});
    sub_keys_.assign(sub_keys_.size(), 0);
  }

 private:
  ModelDescription description_;
  ModelCapacity capacity_;
  UsageTotals totals_;
  std::vector<ExpertCount> counts_;
  std::vector<uint64_t> sub_keys_;
};

class ExpertStatisticsTest : public ::testing::Test {
 protected:
  ExpertUsage Recent(absl::Time now) {
    return statistics_.Snapshot(0, UsageWindow::kRecent, now).Sum();
  }
  ExpertUsage Total(absl::Time now) {
    return statistics_.Snapshot(0, UsageWindow::kTotal, now).Sum();
  }
  void PickAt(absl::Time now, uint32_t expert) {
    statistics_.Advance(now);
    model_.Pick(expert, 0.5f);
  }

  CountingModel model_;
  ExpertStatistics statistics_{ExpertUsageMode::kRecent, &model_, kStart};
};

TEST_F(ExpertStatisticsTest, BothWindowsBeginAtTheStart) {
  PickAt(kStart, 2);
  const absl::Time now = kStart + absl::Seconds(1);
  for (const ExpertUsage& usage : {Recent(now), Total(now)}) {
    EXPECT_EQ(usage.start, kStart);
    EXPECT_EQ(usage.end, now);
    EXPECT_EQ(usage.tokens, 1u);
    EXPECT_THAT(usage.selections, ElementsAre(0, 0, 1));
    EXPECT_THAT(usage.score_sums, ElementsAre(0, 0, 0.5));
  }
}

TEST_F(ExpertStatisticsTest, TheRecentWindowIsTheSliceAndTheOneBefore) {
  PickAt(kStart, 0);
  PickAt(kStart + kSlice, 1);
  EXPECT_THAT(Recent(kStart + kSlice).selections, ElementsAre(1, 1, 0));
  EXPECT_EQ(Recent(kStart + kSlice).start, kStart);

  PickAt(kStart + 2 * kSlice + absl::Seconds(9), 2);
  const ExpertUsage usage = Recent(kStart + 2 * kSlice + absl::Seconds(10));
  EXPECT_THAT(usage.selections, ElementsAre(0, 1, 1));
  EXPECT_EQ(usage.tokens, 2u);
  EXPECT_EQ(usage.start, kStart + kSlice) << "slices do not drift";
  EXPECT_EQ(usage.end, kStart + 2 * kSlice + absl::Seconds(10));
  EXPECT_THAT(Total(usage.end).selections, ElementsAre(1, 1, 1));
  EXPECT_EQ(Total(usage.end).start, kStart);
}

TEST_F(ExpertStatisticsTest, ASliceEndsExactlyAtItsTime) {
  PickAt(kStart, 0);
  const absl::Time before = kStart + 2 * kSlice - absl::Nanoseconds(1);
  EXPECT_THAT(Recent(before).selections, ElementsAre(1, 0, 0));
  EXPECT_THAT(Recent(kStart + 2 * kSlice).selections, Each(0));
}

TEST_F(ExpertStatisticsTest, IdleTimeEmptiesTheRecentWindow) {
  PickAt(kStart, 0);
  const absl::Time later = kStart + 7 * kSlice + absl::Seconds(1);
  const ExpertUsage usage = Recent(later);
  EXPECT_THAT(usage.selections, Each(0));
  EXPECT_EQ(usage.tokens, 0u);
  EXPECT_EQ(usage.start, kStart + 6 * kSlice);
  EXPECT_THAT(Total(later).selections, ElementsAre(1, 0, 0));
}

TEST_F(ExpertStatisticsTest, AResetStartsTheTotalWindowOnly) {
  PickAt(kStart, 0);
  PickAt(kStart + kSlice, 1);
  const absl::Time reset = kStart + kSlice + absl::Seconds(5);
  statistics_.Reset(reset);
  EXPECT_THAT(Total(reset).selections, Each(0));
  EXPECT_THAT(Total(reset).score_sums, Each(0));
  EXPECT_EQ(Total(reset).tokens, 0u);
  EXPECT_EQ(Total(reset).start, reset);
  EXPECT_THAT(Recent(reset).selections, ElementsAre(1, 1, 0));

  PickAt(reset, 1);
  EXPECT_THAT(Total(reset).selections, ElementsAre(0, 1, 0));
  EXPECT_THAT(Total(reset).score_sums, ElementsAre(0, 0.5, 0));
  const absl::Time later = kStart + 2 * kSlice;
  PickAt(later, 2);
  EXPECT_THAT(Total(later).selections, ElementsAre(0, 1, 1));
  EXPECT_THAT(Total(later).score_sums, ElementsAre(0, 0.5, 0.5));
  EXPECT_THAT(Recent(later).selections, ElementsAre(0, 2, 1));
}

TEST_F(ExpertStatisticsTest, ASnapshotKeepsWhatItSaw) {
  PickAt(kStart, 0);
  PickAt(kStart + kSlice, 1);
  const UsageSnapshot recent = statistics_.Snapshot(0, UsageWindow::kRecent, kStart + kSlice);
  const UsageSnapshot total = statistics_.Snapshot(0, UsageWindow::kTotal, kStart + kSlice);

  PickAt(kStart + 2 * kSlice, 2);
  PickAt(kStart + 4 * kSlice, 2);
  statistics_.Reset(kStart + 4 * kSlice);

  EXPECT_THAT(recent.Sum().selections, ElementsAre(1, 1, 0));
  EXPECT_THAT(total.Sum().selections, ElementsAre(1, 1, 0));
}

TEST_F(ExpertStatisticsTest, TotalsOutgrowSixtyFourBits) {
  constexpr uint64_t kLarge = uint64_t{3} << 62;
  for (int slice = 0; slice < 5; ++slice) {
    statistics_.Advance(kStart + slice * kSlice);
    model_.Pick(0, 1);
    model_.SetCount(1, {.selections = 1, .score = kLarge});
  }
  const ExpertUsage usage = Total(kStart + 4 * kSlice);
  EXPECT_EQ(usage.score_sums[1], 5 * (static_cast<double>(kLarge) * ExpertCount::kUnit));
}

TEST(ExpertStatisticsModeTest, TotalKeepsNoSlices) {
  CountingModel model;
  ExpertStatistics statistics(ExpertUsageMode::kTotal, &model, kStart);
  for (int slice = 0; slice < 4; ++slice) {
    statistics.Advance(kStart + slice * kSlice);
    model.Pick(slice % 3, 0.25f);
  }
  const ExpertUsage usage = statistics.Snapshot(0, UsageWindow::kTotal, kStart + 4 * kSlice).Sum();
  EXPECT_THAT(usage.selections, ElementsAre(2, 1, 1));
  EXPECT_THAT(usage.score_sums, ElementsAre(0.5, 0.25, 0.25));
}

TEST(ExpertStatisticsModeTest, OffTouchesNothing) {
  CountingModel model;
  ExpertStatistics statistics(ExpertUsageMode::kOff, &model, kStart);
  model.Pick(1, 1);
  statistics.Advance(kStart + 10 * kSlice);
  EXPECT_EQ(model.ReadUsage(0, {}).tokens, 1u);
}

TEST_F(ExpertStatisticsTest, WhatAModelThatIsReplacedHasCountedStays) {
  PickAt(kStart, 0);
  PickAt(kStart + kSlice, 1);
  CountingModel second;
  statistics_.Replace(&second);
  second.Pick(2, 0.5f);
  const absl::Time now = kStart + kSlice + absl::Seconds(1);
  EXPECT_THAT(Recent(now).selections, ElementsAre(1, 1, 1));
  EXPECT_THAT(Total(now).selections, ElementsAre(1, 1, 1));
  EXPECT_THAT(Total(now).score_sums, ElementsAre(0.5, 0.5, 0.5));
  EXPECT_EQ(Total(now).tokens, 3u);

  CountingModel third;
  statistics_.Replace(&third);
  statistics_.Reset(now);
  third.Pick(0, 0.5f);
  EXPECT_THAT(Recent(now).selections, ElementsAre(2, 1, 1));
  EXPECT_THAT(Total(now).selections, ElementsAre(1, 0, 0));
  const absl::Time later = kStart + 2 * kSlice;
  EXPECT_THAT(Recent(later).selections, ElementsAre(1, 1, 1)) << "a slice's as ever";
  EXPECT_THAT(Total(later).selections, ElementsAre(1, 0, 0));
  EXPECT_THAT(Recent(later + kSlice).selections, Each(0));
}

TEST_F(ExpertStatisticsTest, OfAModelThatIsForgottenEarlierSlicesStay) {
  PickAt(kStart, 0);
  PickAt(kStart + kSlice, 1);
  statistics_.Forget();
  const absl::Time now = kStart + kSlice + absl::Seconds(1);
  EXPECT_THAT(Total(now).selections, ElementsAre(1, 0, 0));
  CountingModel second;
  statistics_.Replace(&second);
  second.Pick(2, 0.5f);
  EXPECT_THAT(Total(now).selections, ElementsAre(1, 0, 1));
  EXPECT_THAT(Recent(kStart + 2 * kSlice).selections, ElementsAre(0, 0, 1));
}

// A model that hangs takes with it what it counted since the last reset, and nothing from before.
TEST_F(ExpertStatisticsTest, AResetOutlivesTheModelThatHadCounted) {
  PickAt(kStart, 0);
  const absl::Time reset = kStart + absl::Seconds(1);
  statistics_.Reset(reset);
  PickAt(reset, 1);
  statistics_.Reset(reset);
  PickAt(reset, 1);
  statistics_.Forget();
  const absl::Time now = reset + absl::Seconds(1);
  for (const absl::Time time : {now, kStart + kSlice}) {
    const UsageSnapshot total = statistics_.Snapshot(0, UsageWindow::kTotal, time);
    EXPECT_THAT(total.Sum().selections, Each(0));
    EXPECT_THAT(total.Sum().score_sums, Each(0));
    EXPECT_EQ(total.Sum().tokens, 0u);
    EXPECT_THAT(total.SumSinceStart().selections, ElementsAre(1, 1, 0));
    EXPECT_EQ(total.SumSinceStart().totals.tokens, 2u);
    EXPECT_THAT(Recent(time).selections, ElementsAre(1, 1, 0));
  }
}

// Sums of large numbers lose nothing by being divided.
TEST_F(ExpertStatisticsTest, JoinedModelsAreCountedTogether) {
  CountingModel other_model;
  ExpertStatistics other(ExpertUsageMode::kRecent, &other_model, kStart + absl::Seconds(1));
  constexpr uint64_t kLarge = (uint64_t{1} << 62) + 1;
  PickAt(kStart, 0);
  model_.SetCount(1, {.selections = 1, .score = kLarge});
  statistics_.Reset(kStart + absl::Seconds(2));
  model_.SetCount(1, {.selections = 2, .score = 2 * kLarge});
  other_model.Pick(0, 0.5f);
  other_model.SetCount(1, {.selections = 5, .score = kLarge});
  const absl::Time now = kStart + absl::Seconds(3);
  const UsageSnapshot total =
      UsageSnapshot::Join({statistics_.Snapshot(0, UsageWindow::kTotal, now),
                           other.Snapshot(0, UsageWindow::kTotal, now + absl::Seconds(1))});
  const ExpertUsage usage = total.Sum();
  EXPECT_EQ(usage.start, kStart + absl::Seconds(1));
  EXPECT_EQ(usage.end, now + absl::Seconds(1));
  EXPECT_THAT(usage.selections, ElementsAre(1, 7, 0));
  EXPECT_EQ(usage.score_sums[1],
            static_cast<double>(3 * absl::uint128(kLarge)) * ExpertCount::kUnit);
  EXPECT_EQ(usage.tokens, 1u);
  const UsageSinceStart since_start = total.SumSinceStart();
  EXPECT_THAT(since_start.selections, ElementsAre(2, 8, 0));
  EXPECT_EQ(since_start.totals.tokens, 2u);
}

// Random picks, pauses and resets, against windows that are recounted from the whole history.
TEST_F(ExpertStatisticsTest, EqualsARecountAtAnyTime) {
  struct Pick {
    absl::Time time;
    bool before_reset;
    uint32_t expert;
  };
  const auto recount = [](const std::vector<Pick>& history, const auto& counts) {
    std::vector<uint64_t> selections(3);
    for (const Pick& pick : history) selections[pick.expert] += counts(pick);
    return selections;
  };
  std::mt19937 random(4);
  std::vector<Pick> history;
  absl::Time now = kStart;
  for (int i = 0; i < 2000; ++i) {
    now += absl::Seconds(random() % 20) +
           (random() % 50 == 0 ? kSlice * (random() % 4) : absl::ZeroDuration());
    if (random() % 100 == 0) {
      statistics_.Reset(now);
      for (Pick& pick : history) pick.before_reset = true;
    }
    history.push_back({now, false, static_cast<uint32_t>(random() % 3)});
    PickAt(now, history.back().expert);

    const ExpertUsage recent = Recent(now);
    ASSERT_LE(recent.end - recent.start, 2 * kSlice);
    ASSERT_EQ(recent.selections,
              recount(history, [&](const Pick& pick) { return pick.time >= recent.start; }))
        << "step " << i;
    ASSERT_EQ(Total(now).selections,
              recount(history, [](const Pick& pick) { return !pick.before_reset; }))
        << "step " << i;
  }
}

// What counters show goes on through slices and resets, sub-keys follow the total window.
TEST(ExpertStatisticsCountersTest, EqualARecountOfEverything) {
  for (const uint32_t n : {3u, 20u}) {  // 20: more experts than are kept by name
    CountingModel model({.num_experts = n * n, .heads = 1, .top_k = 1, .num_sub_keys = n});
    ExpertStatistics statistics(ExpertUsageMode::kRecent, &model, kStart);
    std::mt19937 random(n);
    std::vector<uint64_t> since_start(n * n), sub_keys(2 * n);
    UsageTotals totals;
    absl::Time now = kStart;
    for (int i = 0; i < 400; ++i) {
      now += absl::Seconds(random() % 60);
      if (random() % 40 == 0) {
        statistics.Reset(now);
        sub_keys.assign(2 * n, 0);
      }
      const uint32_t expert = random() % (n * n);
      statistics.Advance(now);
      model.Pick(expert, 0.5f);
      ++since_start[expert];
      ++sub_keys[expert / n];
      ++sub_keys[n + expert % n];
      totals += {.tokens = 1, .step_distinct = 1, .bytes_read = 64};
      totals.kept_mass.Add(0.5f);
      totals.router_entropy.Add(0.25f);

      const UsageSnapshot snapshot = statistics.Snapshot(0, UsageWindow::kTotal, now);
      const ExpertUsage usage = snapshot.Sum();
      const UsageSinceStart sum = snapshot.SumSinceStart();
      ASSERT_EQ(usage.sub_keys, sub_keys) << i;
      ASSERT_EQ(sum.totals.tokens, totals.tokens) << i;
      ASSERT_EQ(sum.totals.step_distinct, totals.step_distinct);
      ASSERT_EQ(sum.totals.bytes_read, totals.bytes_read);
      ASSERT_EQ(sum.totals.kept_mass.counts, totals.kept_mass.counts);
      ASSERT_EQ(sum.totals.router_entropy.counts, totals.router_entropy.counts);
      ASSERT_EQ(sum.totals.router_entropy.sum, totals.router_entropy.sum);
      SubKeyBlocks blocks = SubKeyBlocks::Of(model.layer(), usage.selections);
      blocks += sum.before_reset;
      const SubKeyBlocks expected = SubKeyBlocks::Of(model.layer(), since_start);
      ASSERT_EQ(blocks.rows, expected.rows) << i;
      ASSERT_EQ(blocks.columns, expected.columns) << i;
      if (n == 3) {
        ASSERT_EQ(sum.selections, since_start);
      } else {
        ASSERT_TRUE(sum.selections.empty());
      }
    }
  }
}

TEST(SubKeyBlocksTest, DivideSubKeysEvenly) {
  const ExpertLayer layer{.num_experts = 18 * 18 * 2, .expert_sets = 2, .num_sub_keys = 18};
  std::vector<uint64_t> selections(layer.num_experts);
  selections[0] = 1;                     // row 0, column 0
  selections[18 * 18 - 1] = 2;           // row 17, column 17
  selections[18 * 18 + 18 * 8 + 9] = 4;  // of the second set: row 8, column 9
  const SubKeyBlocks blocks = SubKeyBlocks::Of(layer, selections);
  const std::vector<uint32_t> bounds = SubKeyBlocks::Bounds(layer);
  ASSERT_EQ(bounds.size(), 16u);
  EXPECT_EQ(bounds.front(), 0u);
  EXPECT_EQ(bounds[7], 8u);
  EXPECT_EQ(bounds.back(), 17u);
  EXPECT_EQ(blocks.rows, (std::vector<uint64_t>{1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 2}));
  EXPECT_EQ(blocks.columns,
            (std::vector<uint64_t>{1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 2}));
  EXPECT_TRUE(SubKeyBlocks::Of({.num_experts = 3}, {{1, 2, 3}}).rows.empty());
}

TEST(ExpertUsageBytesTest, CountsSlicesTotalsAndTwoReads) {
  const std::vector<ExpertLayer> layers = {{.num_experts = 1000}, {.num_experts = 10}};
  EXPECT_EQ(ExpertUsageBytes(layers, ExpertUsageMode::kOff), 0u);
  EXPECT_EQ(ExpertUsageBytes(layers, ExpertUsageMode::kTotal), 1010u * 24 + 1000 * 80);
  EXPECT_EQ(ExpertUsageBytes(layers, ExpertUsageMode::kRecent), 1010u * (16 + 24) + 1000 * 80);
  EXPECT_EQ(ExpertUsageBytes({}, ExpertUsageMode::kRecent), 0u);
}

}  // namespace
}  // namespace peerage
