#include "server/engine/expert_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "model/experts/expert_usage.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PickLogTest, KeepsEveryPickInOrderWhenAsked) {
  PickLog log(/*keep_all=*/true);
  const std::vector<uint32_t> ids(PickLog::kMaxLoosePicks, 7);
  const std::vector<float> weights(PickLog::kMaxLoosePicks, 0.5f);
  log.Append({ids, weights});
  log.Append({{9, 3}, {0.25f, 1.0f}});

  ASSERT_EQ(log.ids().size(), ids.size() + 2);
  EXPECT_THAT(log.ids().subspan(ids.size()), ElementsAre(9, 3));
  EXPECT_THAT(log.weights().subspan(ids.size()), ElementsAre(0.25f, 1.0f));
}

TEST(PickLogTest, TalliesInOrderOfExperts) {
  PickLog log(/*keep_all=*/false);
  log.Append({{5, 2, 5}, {0.5f, 1.0f, 0.25f}});

  const std::vector<ExpertTally> tallies = log.Tallies();
  ASSERT_EQ(tallies.size(), 2u);
  EXPECT_EQ(tallies[0].expert, 2u);
  EXPECT_EQ(tallies[0].selections, 1u);
  EXPECT_EQ(tallies[1].expert, 5u);
  EXPECT_EQ(tallies[1].selections, 2u);
  EXPECT_EQ(tallies[1].score, ExpertScore(0.75f));
  EXPECT_THAT(PickLog(false).Tallies(), IsEmpty());
}

TEST(PickLogTest, HoldsNoMorePicksThanItHasExpertsOrMayKeep) {
  std::mt19937 random(11);
  PickLog log(/*keep_all=*/false);
  std::map<uint32_t, ExpertCount> expected;
  for (int step = 0; step < 2000; ++step) {
    std::vector<uint32_t> ids;
    std::vector<float> weights;
    for (int i = 0; i < 64; ++i) {
      ids.push_back(random() % 20'000);
      weights.push_back(static_cast<float>(random() % 1000) / 999);
      ++expected[ids.back()].selections;
      expected[ids.back()].score += ExpertScore(weights.back());
    }
    log.Append({ids, weights});
    ASSERT_LE(log.ids().size(), std::max(PickLog::kMaxLoosePicks, expected.size()));
  }
  const std::vector<ExpertTally> tallies = log.Tallies();
  ASSERT_EQ(tallies.size(), expected.size());
  auto next = expected.begin();
  for (const ExpertTally& tally : tallies) {
    ASSERT_EQ(tally.expert, next->first);
    ASSERT_EQ(tally.selections, next->second.selections);
    ASSERT_EQ(tally.score, next->second.score);
    ++next;
  }
}

}  // namespace
}  // namespace peerage
