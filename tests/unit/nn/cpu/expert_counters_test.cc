#include "model/nn/cpu/expert_counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kMaxTokens = 257;

// Two layers of block 0, one of block 1, two of block 3.
std::vector<ExpertLayer> Layers() {
  return {
      {.layer = 0, .num_experts = 7, .heads = 1, .top_k = 2},
      {.layer = 0, .num_experts = 1024, .heads = 3, .top_k = 5, .num_sub_keys = 32},
      {.layer = 1, .num_experts = 50, .heads = 2, .top_k = 1, .expert_sets = 2, .num_sub_keys = 5},
      {.layer = 3, .num_experts = 1, .heads = 1, .top_k = 1},
      {.layer = 3, .num_experts = 97, .heads = 1, .top_k = 33}};
}

// Counters with memory of their own.
struct LaidCounters {
  explicit LaidCounters(ExpertCounters::Options options) : counters(Layers(), Capped(options)) {
    counts = *AllocateFor(Pages::kNormal, [&](Arena& arena) { counters.LayCounters(arena); });
    picks = *AllocateFor(Pages::kNormal, [&](Arena& arena) { counters.LayPicks(arena); });
  }

  static ExpertCounters::Options Capped(ExpertCounters::Options options) {
    options.max_tokens = kMaxTokens;
    return options;
  }

  // Random picks of so many tokens in one layer, as a router would leave them.
  void Pick(int layer, int tokens, uint32_t seed) {
    const ExpertLayer shape = Layers()[layer];
    std::mt19937 random(seed);
    const PickBuffer buffer = counters.picks(layer);
    for (size_t i = 0; i < size_t(tokens) * shape.picks_per_token(); ++i) {
      buffer.ids[i] = random() % shape.num_experts;
      buffer.weights[i] = static_cast<float>(random() % 1000) / 997;
    }
  }

  std::vector<ExpertCount> Read(int layer, uint64_t& tokens) const {
    std::vector<ExpertCount> read(Layers()[layer].num_experts);
    tokens = counters.Read(layer, absl::MakeSpan(read)).tokens;
    return read;
  }

  ExpertCounters counters;
  Storage counts, picks;
};

void CountNaively(const PickBuffer& picks, size_t count, std::vector<ExpertCount>& counts) {
  for (size_t i = 0; i < count; ++i) {
    ++counts[picks.ids[i]].selections;
    counts[picks.ids[i]].score += ExpertScore(picks.weights[i]);
  }
}

// Of every 16th token; those of the picks are numbered from `tokens.first` to `tokens.second`.
void CountSubKeysNaively(const ExpertLayer& shape, const PickBuffer& picks,
                         std::pair<uint64_t, uint64_t> tokens, std::vector<uint64_t>& counts) {
  const uint32_t n = shape.num_sub_keys;
  for (uint64_t token = tokens.first; n > 0 && token < tokens.second; ++token) {
    if (token % 16 != 0) continue;
    for (uint32_t i = 0; i < shape.picks_per_token(); ++i) {
      const uint32_t id = picks.ids[(token - tokens.first) * shape.picks_per_token() + i];
      const uint32_t head = i / shape.top_k, expert = id % (n * n);
      ++counts[(2 * head) * n + expert / n];
      ++counts[(2 * head + 1) * n + expert % n];
    }
  }
}

void ExpectSameCounts(const std::vector<ExpertCount>& actual,
                      const std::vector<ExpertCount>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t id = 0; id < actual.size(); ++id) {
    ASSERT_EQ(actual[id].selections, expected[id].selections) << id;
    ASSERT_EQ(actual[id].score, expected[id].score) << id;
  }
}

TEST(ExpertCountersTest, CountByThreadsIsTheNaiveCount) {
  for (const int threads : {1, 2, 3}) {
    kernels::ThreadPool pool(threads);
    LaidCounters laid({});
    for (int layer = 0; layer < 5; ++layer) {
      const ExpertLayer shape = Layers()[layer];
      std::vector<ExpertCount> expected(shape.num_experts);
      uint64_t expected_tokens = 0, tokens = 0, distinct = 0;
      std::vector<uint64_t> sub_keys(size_t{2} * shape.heads * shape.num_sub_keys);
      absl::uint128 squared_scores = 0;
      for (const int step : {1, 0, 33, kMaxTokens}) {
        laid.Pick(layer, step, 31 * layer + step);
        if (step == kMaxTokens) {  // what no router should give
          const std::array<float, 4> odd = {NAN, -2, 5000, 0x1p-25f};
          std::copy(odd.begin(), odd.end(), laid.counters.picks(layer).weights);
        }
        laid.counters.Count(pool, layer, step, /*record_bytes=*/192);
        const PickBuffer picks = laid.counters.picks(layer);
        const size_t count = size_t(step) * shape.picks_per_token();
        CountNaively(picks, count, expected);
        CountSubKeysNaively(shape, picks, {expected_tokens, expected_tokens + step}, sub_keys);
        distinct += std::set<uint32_t>(picks.ids, picks.ids + count).size();
        for (size_t i = 0; i < count; ++i) {
          squared_scores +=
              absl::uint128(ExpertScore(picks.weights[i])) * ExpertScore(picks.weights[i]);
        }
        expected_tokens += step;
      }
      ExpectSameCounts(laid.Read(layer, tokens), expected);
      EXPECT_EQ(tokens, expected_tokens);
      const UsageTotals totals = laid.counters.Read(layer, {});
      EXPECT_EQ(totals.tokens, expected_tokens);
      EXPECT_EQ(totals.squared_scores, squared_scores);
      EXPECT_EQ(totals.step_distinct, distinct);
      EXPECT_EQ(totals.bytes_read, distinct * 192);
      std::vector<uint64_t> read(sub_keys.size());
      laid.counters.ReadSubKeys(layer, absl::MakeSpan(read));
      EXPECT_EQ(read, sub_keys) << layer;
    }
  }
}

// More steps than a counter can tell apart.
TEST(ExpertCountersTest, CountsTheDifferentExpertsOfEveryStep) {
  kernels::ThreadPool pool(1);
  LaidCounters laid({});
  const PickBuffer picks = laid.counters.picks(0);
  constexpr uint64_t kSteps = 2 * 4095 + 3;
  for (uint64_t step = 0; step < kSteps; ++step) {
    picks.ids[0] = step % 7;
    picks.ids[1] = step % 2 == 0 ? step % 7 : (step + 1) % 7;
    laid.counters.Count(pool, 0, 1);
  }
  EXPECT_EQ(laid.counters.Read(0, {}).step_distinct, kSteps + kSteps / 2);
}

// One token in 16 over all steps, however they are cut, and each head in its turn.
TEST(ExpertCountersTest, ObservesOneTokenInSixteen) {
  for (const int threads : {1, 3}) {
    kernels::ThreadPool pool(threads);
    LaidCounters laid({});
    std::vector<std::pair<uint64_t, int>> seen;
    uint64_t before = 0;
    for (const int step : {1, 5, 0, 9, 2, 64, kMaxTokens, 1}) {
      absl::Mutex mu;
      laid.counters.Observe(pool, 1, step, [&](int token, int head, int thread) {
        absl::MutexLock lock(&mu);
        EXPECT_LT(thread, threads);
        seen.emplace_back(before + token, head);
        const bool unknown = before + token == 16;
        return kernels::RouterFigures{.kept_mass = unknown ? NAN : 0.5f, .entropy = 0.25f};
      });
      laid.counters.Count(pool, 1, step);
      before += step;
    }
    std::sort(seen.begin(), seen.end());
    ASSERT_EQ(seen.size(), (before + 15) / 16);
    for (size_t i = 0; i < seen.size(); ++i) {
      EXPECT_EQ(seen[i].first, 16 * i);
      EXPECT_EQ(seen[i].second, static_cast<int>(i % 3));
    }
    const UsageTotals totals = laid.counters.Read(1, {});
    const uint64_t known = seen.size() - 1;
    EXPECT_EQ(totals.kept_mass.sum, known << 23);
    EXPECT_EQ(totals.router_entropy.sum, known << 22);
    EXPECT_EQ(totals.kept_mass.counts[4], known);       // up to 0.5
    EXPECT_EQ(totals.router_entropy.counts[3], known);  // up to 0.3
  }
}

// A sum that 32 bits do not hold: weights of 200 are past 256 at the second pick.
TEST(ExpertCountersTest, CountsPastWhatACounterHolds) {
  kernels::ThreadPool pool(3);
  LaidCounters laid({});
  const PickBuffer picks = laid.counters.picks(4);
  std::fill_n(picks.ids, 33 * 97, 96u);
  std::fill_n(picks.weights, 33 * 97, 200.0f);
  laid.counters.Count(pool, 4, 97);
  laid.counters.Count(pool, 4, 1);
  uint64_t tokens = 0;
  const std::vector<ExpertCount> read = laid.Read(4, tokens);
  EXPECT_EQ(read[96].selections, 33u * 98);
  EXPECT_EQ(read[96].score, 33u * 98 * ExpertScore(200));
  EXPECT_EQ(read[95].selections, 0u);
}

TEST(ExpertCountersTest, ClearBeginsAnew) {
  kernels::ThreadPool pool(2);
  LaidCounters laid({});
  for (int layer = 0; layer < 5; ++layer) {
    laid.Pick(layer, 31, layer);
    std::fill_n(laid.counters.picks(layer).weights, 31, 4000.0f);  // some are spilled
    laid.counters.Count(pool, layer, 31);
  }
  laid.counters.Clear();
  for (int layer = 0; layer < 5; ++layer) {
    uint64_t tokens = 1;
    const std::vector<ExpertCount> read = laid.Read(layer, tokens);
    EXPECT_EQ(tokens, 0u);
    EXPECT_EQ(laid.counters.Read(layer, {}).squared_scores, 0u);
    ExpectSameCounts(read, std::vector<ExpertCount>(read.size()));
  }

  laid.Pick(2, 3, 8);
  laid.counters.Count(pool, 2, 3);
  std::vector<ExpertCount> expected(50);
  CountNaively(laid.counters.picks(2), 6, expected);
  uint64_t tokens = 0;
  ExpectSameCounts(laid.Read(2, tokens), expected);
}

TEST(ExpertCountersTest, WhoDoesNotCountReadsZeros) {
  kernels::ThreadPool pool(1);
  LaidCounters laid({.count = false});
  EXPECT_EQ(laid.counts.size(), 0u);
  laid.Pick(0, 3, 1);
  laid.counters.Count(pool, 0, 3);
  std::vector<ExpertCount> read(7, ExpertCount{.selections = 9, .score = 9});
  EXPECT_EQ(laid.counters.Read(0, absl::MakeSpan(read)).tokens, 0u);
  ExpectSameCounts(read, std::vector<ExpertCount>(7));
  laid.counters.Clear();
}

TEST(ExpertCountersTest, WithTracesEveryLayerKeepsItsPicks) {
  LaidCounters laid({});
  for (int layer = 0; layer < 5; ++layer) laid.Pick(layer, kMaxTokens, layer);

  for (const int tokens : {0, 1, kMaxTokens}) {
    const auto reported = laid.counters.Picks(tokens);
    ASSERT_EQ(reported.size(), 5u);
    for (int layer = 0; layer < 5; ++layer) {
      const size_t count = size_t(tokens) * Layers()[layer].picks_per_token();
      ASSERT_EQ(reported[layer].ids.size(), count);
      ASSERT_EQ(reported[layer].weights.size(), count);
      LaidCounters again({});
      again.Pick(layer, kMaxTokens, layer);
      EXPECT_TRUE(std::equal(reported[layer].ids.begin(), reported[layer].ids.end(),
                             again.counters.picks(layer).ids))
          << layer;
      EXPECT_EQ(reported[layer].weights.data(), laid.counters.picks(layer).weights);
    }
  }
}

// Blocks use the same room one after the other; the layers of one block have room each.
TEST(ExpertCountersTest, WithoutTracesBlocksShareRoom) {
  LaidCounters laid({.trace = false});
  const auto ids = [&](int layer) { return laid.counters.picks(layer).ids; };
  EXPECT_EQ(ids(2), ids(0));
  EXPECT_EQ(ids(3), ids(0));
  EXPECT_TRUE(laid.counters.Picks(3).empty());

  for (const auto& [first, second] : {std::pair{0, 1}, {3, 4}}) {
    laid.Pick(first, kMaxTokens, 1);
    laid.Pick(second, kMaxTokens, 2);
    const size_t count = kMaxTokens * Layers()[first].picks_per_token();
    const std::vector<uint32_t> kept(ids(first), ids(first) + count);
    laid.Pick(first, kMaxTokens, 1);
    EXPECT_EQ(std::vector<uint32_t>(ids(first), ids(first) + count), kept);
    EXPECT_GE(ids(second), ids(first) + count);
  }
  EXPECT_LT(laid.picks.size(), LaidCounters({}).picks.size());
}

}  // namespace
}  // namespace peerage::nn::cpu
