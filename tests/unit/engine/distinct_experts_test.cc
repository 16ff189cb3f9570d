#include "server/engine/distinct_experts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

TEST(ExpertSampleTest, HoldsEveryExpertOnceOrAFixedPart) {
  const std::vector<ExpertLayer> few = {{.num_experts = 7, .heads = 1, .top_k = 1},
                                        {.num_experts = 1000, .heads = 1, .top_k = 1}};
  const ExpertSample all(few);
  EXPECT_EQ(all.experts_each(), 1u);
  std::set<uint32_t> indices;
  for (size_t layer = 0; layer < few.size(); ++layer) {
    for (uint32_t id = 0; id < few[layer].num_experts; ++id) indices.insert(all.IndexOf(layer, id));
  }
  EXPECT_EQ(indices.size(), 1007u);
  EXPECT_LT(*indices.rbegin(), all.size());

  const std::vector<ExpertLayer> many(3, {.num_experts = 1 << 20, .heads = 8, .top_k = 16});
  const ExpertSample part(many);
  EXPECT_EQ(part.experts_each(), (1u << 22) / ExpertSample::kMost);
  indices.clear();
  uint32_t in_sample = 0;
  for (size_t layer = 0; layer < many.size(); ++layer) {
    for (uint32_t id = 0; id < many[layer].num_experts; ++id) {
      if (part.IndexOf(layer, id) >= part.size()) continue;
      indices.insert(part.IndexOf(layer, id));
      ++in_sample;
    }
  }
  EXPECT_EQ(indices.size(), in_sample) << "two experts share an index";
  EXPECT_NEAR(in_sample, 3 * ExpertSample::kMost / 4, 100);
}

// Chunks of steps with other tokens around them, picks again and again.
TEST(DistinctExpertsTest, CountsWhatChunksPickedOnce) {
  const std::vector<ExpertLayer> layers = {{.num_experts = 9, .heads = 2, .top_k = 2},
                                           {.num_experts = 400, .heads = 1, .top_k = 3}};
  const ExpertSample sample(layers);
  DistinctExperts experts;
  std::set<std::pair<size_t, uint32_t>> expected;
  std::mt19937 random(5);
  for (int step = 0; step < 40; ++step) {
    const int32_t first = static_cast<int32_t>(random() % 3), count = 1 + random() % 5;
    std::vector<std::vector<uint32_t>> ids(layers.size());
    const std::vector<float> weights((first + count + 2) * 4, 0.5f);  // of no account
    std::vector<ExpertPicks> picks;
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      const uint32_t each = layers[layer].picks_per_token();
      for (uint32_t i = 0; i < (first + count + 2) * each; ++i) {
        ids[layer].push_back(random() % layers[layer].num_experts);
        const bool ours = i >= first * each && i < (first + count) * each;
        if (ours) expected.insert({layer, ids[layer].back()});
      }
      picks.push_back({.ids = ids[layer], .weights = {weights.data(), ids[layer].size()}});
    }
    experts.Add(sample, {.num_tokens = count, .picks = picks, .first_token = first});
    ASSERT_EQ(experts.Count(sample), expected.size()) << step;
  }
}

TEST(DistinctExpertsTest, EstimateOfAMillionExpertsIsNear) {
  const std::vector<ExpertLayer> layers(12, {.num_experts = 1 << 20, .heads = 1, .top_k = 1});
  const ExpertSample sample(layers);
  DistinctExperts experts;
  std::mt19937 random(6);
  std::set<std::pair<size_t, uint32_t>> expected;
  for (int step = 0; step < 10'000; ++step) {
    const float weight = 1;
    std::vector<uint32_t> ids(layers.size());
    std::vector<ExpertPicks> picks;
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      ids[layer] = random() % (1 << 20);
      expected.insert({layer, ids[layer]});
      picks.push_back({.ids = {&ids[layer], 1}, .weights = {&weight, 1}});
    }
    experts.Add(sample, {.num_tokens = 1, .picks = picks});
  }
  const double count = static_cast<double>(expected.size());
  const double each = static_cast<double>(sample.experts_each());
  EXPECT_NEAR(static_cast<double>(experts.Count(sample)), count, 4 * std::sqrt(count * each));
}

class DistinctExpertsOfRequestsTest : public EngineTest {};

// Candidates and continuations count together, and nothing of a request beside them.
TEST_F(DistinctExpertsOfRequestsTest, AreToldAtTheirEnd) {
  const std::vector<ExpertLayer> layers = {{.num_experts = 50, .heads = 2, .top_k = 3}};
  Start({.count_distinct_experts = true}, {.expert_layers = layers});
  GenerateRequest request = Generate({1, 2, 3}, 4);
  request.candidates = 2;
  const Call call = Submit(request);
  const Call beside = Submit(Generate({9, 8, 7, 6}, 5));
  ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());
  ASSERT_EQ(beside.sink->WaitDone(), absl::OkStatus());

  const auto distinct_of = [&](const std::vector<std::vector<TokenId>>& sequences) {
    std::set<uint32_t> ids;
    for (const std::vector<TokenId>& tokens : sequences) {
      for (size_t i = 0; i < tokens.size(); ++i) {
        for (const uint32_t id : FakeModel::PicksOf(layers[0], tokens[i], i).ids) ids.insert(id);
      }
    }
    return ids.size();
  };
  std::set<uint64_t> told, expected;
  for (const RequestEvent& event : observer_.requests()) {
    ASSERT_TRUE(event.distinct_experts.has_value());
    told.insert(*event.distinct_experts);
  }
  std::vector<std::vector<TokenId>> sequences;
  for (const auto& [index, candidate] : call.sink->record().candidates) {
    std::vector<TokenId> tokens = {1, 2, 3};
    tokens.insert(tokens.end(), candidate.tokens.begin(), candidate.tokens.end() - 1);
    sequences.push_back(tokens);
  }
  expected.insert(distinct_of(sequences));
  std::vector<TokenId> tokens = {9, 8, 7, 6};
  const std::vector<TokenId> generated = beside.sink->record().candidates[0].tokens;
  tokens.insert(tokens.end(), generated.begin(), generated.end() - 1);
  expected.insert(distinct_of({tokens}));
  EXPECT_EQ(told, expected);
}

TEST_F(DistinctExpertsOfRequestsTest, AreUnknownUnlessWanted) {
  Start({}, {.expert_layers = {{.num_experts = 50, .heads = 2, .top_k = 3}}});
  ASSERT_EQ(Submit(Generate({1, 2, 3}, 4)).sink->WaitDone(), absl::OkStatus());
  for (const RequestEvent& event : observer_.requests()) {
    EXPECT_FALSE(event.distinct_experts.has_value());
  }
}

}  // namespace
}  // namespace peerage
