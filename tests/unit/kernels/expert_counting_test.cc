#include "model/kernels/expert_counting.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

#include "tests/support/nan.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

struct Picks {
  Picks(int count, uint32_t num_experts) : ids(count), weights(count) {
    std::mt19937 random(count);
    for (uint32_t& id : ids) id = random() % num_experts;
    // Every other one so small that half a unit counts.
    for (int i = 0; i < count; ++i) {
      weights[i] = static_cast<float>(random()) * (i % 2 == 0 ? 0x1p-32f : 0x1p-41f);
    }
  }

  CountArgs Args(std::vector<ExpertCount>& counts) const {
    return {ids.data(), weights.data(), static_cast<int64_t>(ids.size()), counts.data()};
  }

  std::vector<uint32_t> ids;
  std::vector<float> weights;
};

template <typename Check>
void ForEachTarget(const Check& check) {
  for (const int64_t target : KernelTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    const ScopedKernelTarget scoped(target);
    check();
  }
}

void ExpectEqual(const std::vector<ExpertCount>& counts, const std::vector<ExpertCount>& expected) {
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
    CountExpertsReference(picks.Args(expected), 0, kExperts);
    ForEachTarget([&] {
      for (const uint32_t parts : {1, 2, 3, 7}) {
        std::vector<ExpertCount> counts(kExperts);
        for (uint32_t p = 0; p < parts; ++p) {
          CountExperts(picks.Args(counts), kExperts * p / parts, kExperts * (p + 1) / parts);
        }
        ExpectEqual(counts, expected);
      }
    });
  }
}

TEST(ExpertCountingTest, TouchesOnlyItsRange) {
  const Picks picks(500, 64);
  ForEachTarget([&] {
    std::vector<ExpertCount> counts(64);
    CountExperts(picks.Args(counts), 10, 20);
    for (int id = 0; id < 64; ++id) EXPECT_EQ(counts[id].selections > 0, id >= 10 && id < 20) << id;
    counts.assign(64, {});
    CountExperts(picks.Args(counts), 20, 20);
    for (const ExpertCount& count : counts) EXPECT_EQ(count.selections, 0u);
  });
}

TEST(ExpertCountingTest, RoundsAndCutsWeights) {
  struct Case {
    float weight;
    uint64_t score;
  };
  constexpr Case kCases[] = {{0, 0},
                             {1, uint64_t{1} << 32},
                             {0x1p-32f, 1},
                             {0x0.8p-32f, 1},
                             {0x0.7fffffp-32f, 0},
                             {0x1.8p-32f, 2},
                             {0x1.000002p-9f, 8388609},
                             {-1, 0},
                             {4096, uint64_t{4096} << 32},
                             {1e30f, uint64_t{4096} << 32},
                             {std::numeric_limits<float>::infinity(), uint64_t{4096} << 32},
                             {kNan, 0}};
  for (const Case& c : kCases) {
    const uint32_t id = 1;
    std::vector<ExpertCount> counts(3);
    CountExpertsReference({&id, &c.weight, 1, counts.data()}, 0, 3);
    EXPECT_EQ(counts[1].score, c.score) << c.weight;
    ForEachTarget([&] {
      std::vector<ExpertCount> counts(3);
      CountExperts({&id, &c.weight, 1, counts.data()}, 0, 3);
      EXPECT_EQ(counts[1].score, c.score) << c.weight;
      EXPECT_EQ(counts[1].selections, 1u);
    });
  }
}

TEST(ExpertCountingTest, AddsToWhatIsThere) {
  const Picks picks(100, 8);
  ForEachTarget([&] {
    std::vector<ExpertCount> counts(8), expected(8);
    for (int i = 0; i < 3; ++i) {
      CountExperts(picks.Args(counts), 0, 8);
      CountExpertsReference(picks.Args(expected), 0, 8);
    }
    ExpectEqual(counts, expected);
  });
}

// Ids compare as unsigned numbers.
TEST(ExpertCountingTest, SkipsTheHighestIds) {
  const std::vector<uint32_t> ids = {0xffffffff, 0x80000000, 3, 0xfffffffe};
  const std::vector<float> weights(ids.size(), 1.0f);
  ForEachTarget([&] {
    std::vector<ExpertCount> counts(4);
    CountExperts({ids.data(), weights.data(), 4, counts.data()}, 1, 4);
    EXPECT_EQ(counts[3].selections, 1u);
  });
}

}  // namespace
}  // namespace peerage::kernels
