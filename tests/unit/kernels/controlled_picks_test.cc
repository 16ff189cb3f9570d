#include "model/kernels/controlled_picks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "model/experts/expert_usage.h"
#include "model/kernels/logits.h"
#include "model/kernels/product_keys.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

using ::testing::Each;

constexpr RouterScore kScores[] = {RouterScore::kSoftmax, RouterScore::kSigmoid, RouterScore::kRelu,
                                   RouterScore::kJointSoftmax};

// One row: its scores, and what was picked of them.
struct Row {
  Row(int n, int k, uint32_t seed) : k(k), scratch(2 * n), ids(k), weights(k) {
    std::mt19937 random(seed);
    for (std::vector<float>& half : scores) {
      half.resize(n);
      // With few different values there are ties, which ids decide.
      for (float& s : half) {
        s = seed % 3 == 0 ? float(random() % 5) : std::normal_distribution<float>()(random);
      }
    }
  }

  int n() const { return static_cast<int>(scores[0].size()); }
  ControlledPicksArgs Args(const LayerControl& control) {
    return {.scores = {scores[0], scores[1]},
            .score = score,
            .first_id = first_id,
            .control = &control,
            .k = k,
            .scratch = scratch,
            .ids = ids.data(),
            .weights = weights.data()};
  }
  // What is picked without control, by the kernel that all other rows have.
  void Combine() {
    const int listed = std::min(n(), k);
    std::vector<float> values(2 * listed);
    std::vector<int32_t> list_ids(2 * listed);
    float log_sums[2];
    for (int half = 0; half < 2; ++half) {
      TopK({scores[half].data(), 0, 1, n(), listed, values.data() + half * listed,
            list_ids.data() + half * listed});
      log_sums[half] = LogSumExp(scores[half]);
    }
    CombineHalves({.rows = 1,
                   .n = n(),
                   .listed = listed,
                   .k = k,
                   .values = values.data(),
                   .ids = list_ids.data(),
                   .half_stride = static_cast<size_t>(listed),
                   .log_sum_exp = {&log_sums[0], &log_sums[1]},
                   .score = score,
                   .first_id = first_id,
                   .expert_ids = ids.data(),
                   .weights = weights.data()});
  }

  const int k;
  RouterScore score = RouterScore::kSoftmax;
  uint32_t first_id = 0;
  std::vector<float> scores[2];
  std::vector<uint32_t> scratch;
  std::vector<uint32_t> ids;
  std::vector<float> weights;
};

// Masks half of what is picked and half of the rest, at most `masks`, and biases some.
LayerControl RandomControl(const Row& row, int masks, int biases, uint32_t seed) {
  std::mt19937 random(seed);
  const uint32_t experts = row.n() * row.n();
  std::set<uint32_t> masked, biased;
  for (int i = 0; i < masks && masked.size() + 1 < experts; ++i) {
    masked.insert(i % 2 == 0 ? row.ids[random() % row.k] : row.first_id + random() % experts);
  }
  for (int i = 0; i < biases; ++i) {
    biased.insert(i % 2 == 0 ? row.ids[random() % row.k] : row.first_id + random() % experts);
  }
  LayerControl control{.masked_ids = {masked.begin(), masked.end()}};
  for (const uint32_t id : biased) control.biases.push_back({id, float(random() % 900) / 90 - 5});
  control.top_k = random() % (row.k + 1);
  return control;
}

void ExpectNear(const Row& actual, const Row& expected) {
  ASSERT_EQ(actual.ids, expected.ids);
  for (int i = 0; i < actual.k; ++i) {
    ASSERT_NEAR(actual.weights[i], expected.weights[i], 2e-6 * std::max(1.0f, expected.weights[i]))
        << i;
  }
}

template <typename Check>
void ForEachRow(const Check& check) {
  uint32_t seed = 1;
  for (const int n : {1, 2, 5, 31, 100}) {
    for (const int k : {1, 3, 16, 128}) {
      if (k > n * n) continue;
      for (const RouterScore score : kScores) {
        for (const uint32_t first_id : {0u, 70000u}) {
          SCOPED_TRACE(testing::Message() << "n " << n << ", k " << k << ", score "
                                          << static_cast<int>(score) << ", seed " << seed);
          Row row(n, k, seed);
          row.score = score;
          row.first_id = first_id;
          row.Combine();
          check(row, seed++);
        }
      }
    }
  }
}

TEST(ControlledPicksTest, TheBestOfWhatIsLeftArePicked) {
  ForEachRow([](const Row& row, uint32_t seed) {
    for (const int masks : {0, 1, 20, 1500}) {
      for (const int biases : {0, 3, 50}) {
        const LayerControl control = RandomControl(row, masks, biases, seed);
        Row expected = row, actual = row;
        PickUnderControlReference(expected.Args(control));
        PickUnderControl(actual.Args(control));
        ASSERT_NO_FATAL_FAILURE(ExpectNear(actual, expected)) << masks << ", " << biases;
      }
    }
  });
}

TEST(ControlledPicksTest, WhatDoesNotConcernThePicksChangesNoBit) {
  ForEachTarget([] {
    ForEachRow([](const Row& row, uint32_t) {
      LayerControl control{.top_k = static_cast<uint32_t>(row.k)};
      for (int id = 0; id < row.n() * row.n(); ++id) {
        const uint32_t expert = row.first_id + id;
        if (std::count(row.ids.begin(), row.ids.end(), expert) == 0) {
          control.masked_ids.push_back(expert);
        }
      }
      control.biases = {{row.first_id + row.n() * row.n(), 3.0f}};  // of the next head
      Row actual = row;
      PickUnderControl(actual.Args(control));
      ASSERT_EQ(actual.ids, row.ids);
      ASSERT_EQ(actual.weights, row.weights);
    });
  });
}

// A bias of nothing makes it go the long way, to the same bits.
TEST(ControlledPicksTest, TheLongWayEndsAtTheSameBits) {
  ForEachTarget([] {
    ForEachRow([](const Row& row, uint32_t) {
      const LayerControl control{.biases = {{row.first_id, 0.0f}}};
      Row actual = row;
      PickUnderControl(actual.Args(control));
      ASSERT_EQ(actual.ids, row.ids);
      ASSERT_EQ(actual.weights, row.weights);
    });
  });
}

TEST(ControlledPicksTest, WhereTooFewAreLeftPlacesStayEmpty) {
  Row row(5, 7, 4);
  row.Combine();
  LayerControl control;
  for (uint32_t id = 0; id < 25; ++id) {
    if (id != 3 && id != 17) control.masked_ids.push_back(id);
  }
  PickUnderControl(row.Args(control));
  EXPECT_THAT(std::vector<uint32_t>(row.ids.begin(), row.ids.begin() + 2),
              testing::UnorderedElementsAre(3, 17));
  EXPECT_THAT(std::vector<uint32_t>(row.ids.begin() + 2, row.ids.end()), Each(kNoExpert));
  EXPECT_THAT(std::vector<float>(row.weights.begin() + 2, row.weights.end()), Each(0.0f));
  EXPECT_NEAR(row.weights[0] + row.weights[1], 1, 1e-6);
}

TEST(ControlledPicksTest, ForcedPicksHaveTheRoutersWeights) {
  ForEachTarget([] {
    ForEachRow([](const Row& row, uint32_t seed) {
      Row actual = row;
      std::fill(actual.weights.begin(), actual.weights.end(), -1.0f);
      WeighForcedPicks(actual.Args({}));
      ASSERT_EQ(actual.weights, row.weights);  // of its own picks

      std::shuffle(actual.ids.begin(), actual.ids.end(), std::mt19937(seed));
      if (row.k > 2) actual.ids.back() = kNoExpert;
      Row expected = actual;
      WeighForcedPicks(actual.Args({}));
      WeighForcedPicksReference(expected.Args({}));
      ASSERT_NO_FATAL_FAILURE(ExpectNear(actual, expected));
    });
  });
}

}  // namespace
}  // namespace peerage::kernels
