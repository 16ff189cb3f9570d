#include "model/kernels/expert_counting.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "model/kernels/thread_pool.h"
#include "tests/support/nan.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr uint32_t kFull = ExpertCounter::kMostSelections;
constexpr uint32_t kFullScore = std::numeric_limits<uint32_t>::max();

struct Picks {
  Picks(int count, uint32_t num_experts) : ids(count), weights(count) {
    std::mt19937 random(count);
    for (uint32_t& id : ids) id = random() % num_experts;
    // Every other one so small that half a unit counts.
    for (int i = 0; i < count; ++i) {
      weights[i] = static_cast<float>(random()) * (i % 2 == 0 ? 0x1p-32f : 0x1p-41f);
    }
  }

  CountArgs Args() const {
    return {
        .ids = ids.data(), .weights = weights.data(), .picks = static_cast<int64_t>(ids.size())};
  }

  std::vector<uint32_t> ids;
  std::vector<float> weights;
};

// Counters and what they spilled, read as one.
class Counters {
 public:
  explicit Counters(int experts, ExpertCounter initial = {}) : counters_(experts, initial) {}

  int64_t Count(CountArgs args, uint32_t first_id, uint32_t end_id) {
    args.counters = counters_.data();
    return CountExperts(args, first_id, end_id, spilled_);
  }
  void ForgetSteps() { kernels::ForgetSteps(counters_.data(), counters_.size()); }

  std::vector<ExpertCount> Read() const {
    std::vector<ExpertCount> counts(counters_.size());
    ReadCounters(counters_.data(), counters_.size(), counts.data());
    AddSpilled(spilled_, counts.data());
    return counts;
  }

  const ExpertCounter& counter(uint32_t id) const { return counters_[id]; }
  const SpilledCounts& spilled() const { return spilled_; }

 private:
  std::vector<ExpertCounter> counters_;
  SpilledCounts spilled_;
};

void ExpectEqual(const std::vector<ExpertCount>& counts, const std::vector<ExpertCount>& expected) {
  ASSERT_EQ(counts.size(), expected.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    ASSERT_EQ(counts[i].selections, expected[i].selections) << i;
    ASSERT_EQ(counts[i].score, expected[i].score) << i;
  }
}

TEST(ExpertCountingTest, CountsEveryPickOnceHoweverIdsAreSplit) {
  constexpr int kExperts = 1000;
  for (const int count : {0, 1, 3, 15, 16, 17, 63, 64, 65, 128, 2049}) {
    const Picks picks(count, kExperts);
    std::vector<ExpertCount> expected(kExperts);
    CountExpertsReference(picks.Args(), 0, kExperts, expected.data());
    ForEachTarget([&] {
      for (const uint32_t parts : {1, 2, 3, 7}) {
        Counters counters(kExperts);
        for (uint32_t p = 0; p < parts; ++p) {
          counters.Count(picks.Args(), kExperts * p / parts, kExperts * (p + 1) / parts);
        }
        ExpectEqual(counters.Read(), expected);
      }
    });
  }
}

TEST(ExpertCountingTest, CountsTheDifferentExpertsOfAStep) {
  constexpr int kExperts = 1000;
  for (const int count : {0, 1, 15, 17, 129, 2049}) {
    const Picks picks(count, kExperts);
    std::vector<ExpertCount> counts(kExperts);
    const int64_t expected = CountExpertsReference(picks.Args(), 0, kExperts, counts.data());
    ForEachTarget([&] {
      Counters counters(kExperts);
      for (const uint32_t step : {1u, 2u, ExpertCounter::kLastStep}) {
        CountArgs args = picks.Args();
        args.step = step;
        int64_t different = 0;
        for (const uint32_t first : {0, 400}) {
          different += counters.Count(args, first, first == 0 ? 400 : kExperts);
        }
        EXPECT_EQ(different, expected) << count;
        EXPECT_EQ(counters.Count(args, 0, kExperts), 0) << "this step has had them";
      }
      counters.ForgetSteps();
      EXPECT_EQ(counters.Count(picks.Args(), 0, kExperts), expected);
    });
  }
}

// An expert whose counter is emptied within a step stays one expert.
TEST(ExpertCountingTest, CountsAnExpertThatSpillsOnce) {
  const std::vector<uint32_t> ids(100, 2);
  const std::vector<float> weights(ids.size(), 100.0f);
  ForEachTarget([&] {
    Counters counters(3);
    EXPECT_EQ(counters.Count({.ids = ids.data(), .weights = weights.data(), .picks = 100}, 0, 3),
              1);
    EXPECT_EQ(counters.Read()[2].selections, 100u);
  });
}

TEST(ExpertCountingTest, TouchesOnlyItsRange) {
  const Picks picks(500, 64);
  ForEachTarget([&] {
    Counters counters(64);
    counters.Count(picks.Args(), 10, 20);
    for (uint32_t id = 0; id < 64; ++id) {
      EXPECT_EQ(counters.counter(id).selections > 0, id >= 10 && id < 20) << id;
    }
    Counters untouched(64);
    untouched.Count(picks.Args(), 20, 20);
    for (const ExpertCount& count : untouched.Read()) EXPECT_EQ(count.selections, 0u);
  });
}

TEST(ExpertCountingTest, RoundsAndCutsWeights) {
  struct Case {
    float weight;
    uint64_t score;
  };
  constexpr Case kCases[] = {{0, 0},
                             {1, uint64_t{1} << 24},
                             {0x1p-24f, 1},
                             {0x0.8p-24f, 1},
                             {0x0.7fffffp-24f, 0},
                             {0x1.8p-24f, 2},
                             {0x1.000002p-1f, 8388609},
                             {-1, 0},
                             {0x1.fffffep+7f, 0xffffff00},
                             {256, uint64_t{256} << 24},
                             {4096, uint64_t{4096} << 24},
                             {1e30f, uint64_t{4096} << 24},
                             {std::numeric_limits<float>::infinity(), uint64_t{4096} << 24},
                             {kNan, 0}};
  for (const Case& c : kCases) {
    const uint32_t id = 1;
    const CountArgs args{.ids = &id, .weights = &c.weight, .picks = 1};
    std::vector<ExpertCount> expected(3);
    CountExpertsReference(args, 0, 3, expected.data());
    EXPECT_EQ(expected[1].score, c.score) << c.weight;
    ForEachTarget([&] {
      Counters counters(3);
      counters.Count(args, 0, 3);
      EXPECT_EQ(counters.Read()[1].score, c.score) << c.weight;
      EXPECT_EQ(counters.Read()[1].selections, 1u);
    });
  }
}

TEST(ExpertCountingTest, AddsToWhatIsThere) {
  const Picks picks(100, 8);
  ForEachTarget([&] {
    Counters counters(8);
    std::vector<ExpertCount> expected(8);
    for (int i = 0; i < 3; ++i) {
      counters.Count(picks.Args(), 0, 8);
      CountExpertsReference(picks.Args(), 0, 8, expected.data());
    }
    ExpectEqual(counters.Read(), expected);
  });
}

// Ids compare as unsigned numbers.
TEST(ExpertCountingTest, SkipsTheHighestIds) {
  const std::vector<uint32_t> ids = {0xffffffff, 0x80000000, 3, 0xfffffffe};
  const std::vector<float> weights(ids.size(), 1.0f);
  ForEachTarget([&] {
    Counters counters(4);
    counters.Count({.ids = ids.data(), .weights = weights.data(), .picks = 4}, 1, 4);
    EXPECT_EQ(counters.Read()[3].selections, 1u);
  });
}

TEST(ExpertCountingTest, LosesNothingWhereACounterIsFull) {
  const ExpertCounter kNearlyFull[] = {{.selections = kFull, .score = 0},
                                       {.selections = kFull - 1, .score = 5},
                                       {.selections = 7, .score = kFullScore},
                                       {.selections = 7, .score = kFullScore - (1u << 24)},
                                       {.selections = kFull, .score = kFullScore}};
  for (const ExpertCounter& initial : kNearlyFull) {
    const Picks picks(300, 8);
    std::vector<ExpertCount> expected(8, {initial.selections, initial.score});
    CountExpertsReference(picks.Args(), 0, 8, expected.data());
    ForEachTarget([&] {
      Counters counters(8, initial);
      counters.Count(picks.Args(), 0, 8);
      ExpectEqual(counters.Read(), expected);
      EXPECT_EQ(counters.spilled().size(), 8u);
    });
  }
}

TEST(ExpertCountingTest, SpillsNothingWhileItFits) {
  const uint32_t id = 0;
  const float one = 1;
  ForEachTarget([&] {
    Counters counters(1, {.selections = kFull - 1, .score = kFullScore - (1u << 24)});
    counters.Count({.ids = &id, .weights = &one, .picks = 1}, 0, 1);
    EXPECT_EQ(counters.counter(0).selections, kFull);
    EXPECT_EQ(counters.counter(0).score, kFullScore);
    EXPECT_TRUE(counters.spilled().empty());
  });
}

// Weights of up to 4096, most of which no counter holds.
TEST(ExpertCountingTest, LosesNothingOfLargeWeights) {
  Picks picks(5000, 3);
  for (float& weight : picks.weights) weight *= 5000;
  std::vector<ExpertCount> expected(3);
  CountExpertsReference(picks.Args(), 0, 3, expected.data());
  ASSERT_GT(expected[0].score, uint64_t{1} << 40);
  ForEachTarget([&] {
    Counters counters(3);
    counters.Count(picks.Args(), 0, 3);
    ExpectEqual(counters.Read(), expected);
    EXPECT_EQ(counters.spilled().size(), 3u);
  });
}

TEST(ExpertCountingTest, CountsWithThreadsThatTakeDisjointIds) {
  constexpr int kExperts = 100, kThreads = 3, kRounds = 50;
  Picks picks(2000, kExperts);
  for (float& weight : picks.weights) weight *= 100;
  std::vector<ExpertCount> expected(kExperts);
  for (int round = 0; round < kRounds; ++round) {
    CountExpertsReference(picks.Args(), 0, kExperts, expected.data());
  }
  ThreadPool pool(kThreads);
  std::vector<ExpertCounter> counters(kExperts);
  std::vector<SpilledCounts> spilled(kThreads);
  CountArgs args = picks.Args();
  args.counters = counters.data();
  for (int round = 0; round < kRounds; ++round) {
    pool.For(kExperts, 10, [&](int64_t begin, int64_t end, int thread) {
      CountExperts(args, static_cast<uint32_t>(begin), static_cast<uint32_t>(end), spilled[thread]);
    });
  }
  std::vector<ExpertCount> counts(kExperts);
  ReadCounters(counters.data(), kExperts, counts.data());
  for (const SpilledCounts& part : spilled) AddSpilled(part, counts.data());
  ExpectEqual(counts, expected);
}

}  // namespace
}  // namespace peerage::kernels
