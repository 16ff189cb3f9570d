#include "model/kernels/product_keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "model/kernels/float16.h"
#include "model/kernels/logits.h"
#include "tests/support/nan.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kSizes[] = {2, 3, 23, 31, 32, 33, 257, 1000, 1024};
constexpr int kTopKs[] = {1, 2, 7, 8, 16, 17, 32, 64, 127, 128};

// Values of one kind: what sorting finds hard, or what arithmetic does.
struct Kind {
  const char* name;
  float (*value)(std::mt19937& random, int i);
};

float Normal(std::mt19937& random) { return std::normal_distribution<float>()(random); }
bool OneIn(std::mt19937& random, int n) { return random() % n == 0; }

constexpr Kind kKinds[] = {
    {"random", [](std::mt19937& random, int) { return Normal(random); }},
    {"clustered",
     [](std::mt19937& random, int i) { return Normal(random) + (i % 32 < 10 ? 9 : 0); }},
    {"all equal", [](std::mt19937&, int) { return 0.5f; }},
    {"both zeros", [](std::mt19937& random, int) { return OneIn(random, 2) ? 0.0f : -0.0f; }},
    {"three values", [](std::mt19937& random, int) { return float(random() % 3) - 1; }},
    {"forty values", [](std::mt19937& random, int) { return float(random() % 40) / 4; }},
    {"ascending", [](std::mt19937&, int i) { return float(i); }},
    {"descending", [](std::mt19937&, int i) { return float(-i); }},
    {"sums that round to ties",
     [](std::mt19937& random, int i) { return i % 2 * 1e7f + float(random() % 64) / 16; }},
    {"a positive infinity",
     [](std::mt19937& random, int) { return OneIn(random, 9) ? kInfinity : Normal(random); }},
    {"both infinities",
     [](std::mt19937& random, int) {
       return OneIn(random, 2) ? Normal(random) : OneIn(random, 3) ? kInfinity : -kInfinity;
     }},
    {"negative infinity only", [](std::mt19937&, int) { return -kInfinity; }},
    {"a few NaN",
     [](std::mt19937& random, int) { return OneIn(random, 40) ? kNan : Normal(random); }},
    {"mostly NaN",
     [](std::mt19937& random, int) { return OneIn(random, 9) ? Normal(random) : kNan; }},
    {"NaN and infinities",
     [](std::mt19937& random, int) {
       return OneIn(random, 3) ? -kInfinity : OneIn(random, 2) ? kNan : kInfinity;
     }},
    {"NaN only", [](std::mt19937&, int) { return -kNan; }},
    {"subnormal", [](std::mt19937& random, int) { return Normal(random) * 1e-40f; }},
    {"barely normal", [](std::mt19937& random, int) { return Normal(random) * 2e-38f; }},
    {"huge", [](std::mt19937& random, int) { return Normal(random) * 2e38f; }},
};

std::vector<float> MakeValues(const Kind& kind, size_t n, int seed) {
  std::mt19937 random(seed);
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = kind.value(random, static_cast<int>(i));
  return values;
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Any NaN is as good as another.
bool SameBitsOrNan(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) {
    return (std::isnan(x) && std::isnan(y)) ||
           std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y);
  });
}

// Runs check() with every instruction set, the portable code first.
template <typename Check>
void ForEachKernelTarget(const Check& check) {
  for (const int64_t target : KernelTargets()) {
    const ScopedKernelTarget scoped(target);
    SCOPED_TRACE(hwy::TargetName(target));
    check();
    if (::testing::Test::HasFatalFailure()) return;
  }
}

struct Lists {
  std::vector<float> values;
  std::vector<int32_t> ids;
  bool operator==(const Lists& other) const {
    return SameBits(values, other.values) && SameBits(ids, other.ids);
  }
};

// The first `k` of each row of `most` entries.
Lists FirstOfEachRow(const Lists& lists, int most, int k) {
  Lists first;
  for (size_t row = 0; row < lists.ids.size(); row += most) {
    const auto append = [&](auto& to, const auto& from) {
      to.insert(to.end(), from.begin() + row, from.begin() + row + k);
    };
    append(first.values, lists.values);
    append(first.ids, lists.ids);
  }
  return first;
}

struct TopKShape {
  int rows = 0;
  int n = 0;
  int k = 0;
};

Lists RunTopK(void (*top_k)(const TopKArgs&), const std::vector<float>& scores, TopKShape shape) {
  Lists lists{std::vector<float>(shape.rows * shape.k), std::vector<int32_t>(shape.rows * shape.k)};
  top_k({.scores = scores.data(),
         .stride = size_t(shape.n),
         .rows = shape.rows,
         .n = shape.n,
         .k = shape.k,
         .values = lists.values.data(),
         .ids = lists.ids.data()});
  return lists;
}

TEST(TopKTest, IsTheReferenceToTheBitForEveryKindOfValues) {
  for (const Kind& kind : kKinds) {
    for (const int n : kSizes) {
      const int rows = n < 100 ? 9 : 3;
      const std::vector<float> scores = MakeValues(kind, size_t(rows) * n, n);
      for (const int k : kTopKs) {
        if (k > n) continue;
        const Lists expected = RunTopK(TopKReference, scores, {rows, n, k});
        ForEachKernelTarget([&] {
          ASSERT_EQ(RunTopK(TopK, scores, {rows, n, k}), expected)
              << kind.name << ", " << k << " of " << n;
        });
      }
    }
  }
}

TEST(TopKTest, ReferencePutsHigherValuesThenLowerIdsAndNanLast) {
  const std::vector<float> scores = {kNan, -0.0f, 3, -kInfinity, 0.0f, 3, kNan, kInfinity};
  const Lists lists = RunTopK(TopKReference, scores, {1, 8, 8});
  EXPECT_EQ(lists.ids, (std::vector<int32_t>{7, 2, 5, 1, 4, 3, 0, 6}));
  EXPECT_TRUE(std::signbit(lists.values[3]));
  EXPECT_TRUE(std::isnan(lists.values[7]));
}

TEST(TopKTest, FindsNothingInNoRows) {
  ForEachKernelTarget([&] { RunTopK(TopK, {}, {0, 32, 16}); });
}

// Sub-keys, and how they came to be.
struct KeyShape {
  int n = 0;
  int width = 0;
  WeightFormat format = WeightFormat::kF32;
};

std::string Describe(const KeyShape& shape) {
  return std::to_string(shape.n) + " x " + std::to_string(shape.width) +
         (shape.format == WeightFormat::kF32 ? " f32" : " bf16");
}

struct PackedKeys {
  PackedKeys(const KeyShape& shape, const std::vector<float>& rows) {
    keys = {shape.n, shape.width, shape.format, nullptr};
    std::vector<uint8_t> stored(rows.size() * sizeof(float));
    for (size_t i = 0; i < rows.size(); ++i) {
      const uint16_t bf16 = BF16FromF32(rows[i]);
      if (shape.format == WeightFormat::kF32) {
        std::memcpy(&stored[4 * i], &rows[i], 4);
      } else {
        std::memcpy(&stored[2 * i], &bf16, 2);
      }
    }
    data = hwy::AllocateAligned<uint8_t>(SubKeyBytes(keys));
    PackSubKeys(keys, stored.data(), data.get());
    keys.data = data.get();
  }
  hwy::AlignedFreeUniquePtr<uint8_t[]> data;
  SubKeys keys;
};

struct SubKeyRun {
  int rows = 0;
  int k = 0;
  bool log_sum_exp = false;
};
struct SubKeyResult {
  Lists lists;
  std::vector<float> log_sum_exp;
};

SubKeyResult RunSubKeys(void (*top_k)(const SubKeyTopKArgs&), const SubKeys& keys,
                        const std::vector<float>& queries, SubKeyRun run) {
  const size_t values = size_t(run.rows) * run.k;
  SubKeyResult result{{std::vector<float>(values), std::vector<int32_t>(values)},
                      std::vector<float>(run.log_sum_exp ? run.rows : 0)};
  auto scratch = hwy::AllocateAligned<uint8_t>(SubKeyTopKScratch(keys.n, keys.width));
  top_k({.keys = keys,
         .queries = queries.data(),
         .stride = size_t(keys.width),
         .rows = run.rows,
         .k = run.k,
         .values = result.lists.values.data(),
         .ids = result.lists.ids.data(),
         .out_stride = size_t(run.k),
         .log_sum_exp = run.log_sum_exp ? result.log_sum_exp.data() : nullptr,
         .scratch = scratch.get()});
  return result;
}

constexpr int kMostRows = 33;

// Some of these have the panels that bf16 arithmetic reads.
constexpr KeyShape kKeyShapes[] = {
    {2, 1, WeightFormat::kF32},       {3, 3, WeightFormat::kBF16},
    {23, 16, WeightFormat::kF32},     {31, 31, WeightFormat::kBF16},
    {32, 64, WeightFormat::kF32},     {33, 128, WeightFormat::kBF16},
    {257, 200, WeightFormat::kF32},   {512, 1, WeightFormat::kBF16},
    {512, 3, WeightFormat::kF32},     {1000, 31, WeightFormat::kF32},
    {1000, 31, WeightFormat::kBF16},  {1024, 64, WeightFormat::kF32},
    {1024, 128, WeightFormat::kBF16}, {777, 200, WeightFormat::kBF16},
};

class SubKeyTopKTest : public ::testing::TestWithParam<KeyShape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, SubKeyTopKTest, ::testing::ValuesIn(kKeyShapes),
                         [](const auto& info) {
                           std::string name = Describe(info.param);
                           std::erase(name, ' ');
                           return name;
                         });

TEST_P(SubKeyTopKTest, IsTheReferenceToTheBitForEveryBatchAndInstructionSet) {
  const KeyShape shape = GetParam();
  const size_t elements = size_t(shape.n) * shape.width;
  const PackedKeys packed(shape, MakeValues(kKinds[0], elements, shape.n));
  const std::vector<float> queries = MakeValues(kKinds[0], size_t(kMostRows) * shape.width, 5);
  // The k best are the first k of the most that are asked for (TopKTest shows it for every k).
  const int most = std::min(shape.n, kTopKs[std::size(kTopKs) - 1]);
  const Lists expected =
      RunSubKeys(SubKeyTopKReference, packed.keys, queries, {kMostRows, most}).lists;
  for (const int k : kTopKs) {
    if (k > shape.n) continue;
    const Lists best = FirstOfEachRow(expected, most, k);
    ForEachKernelTarget([&] {
      for (const int rows : {0, 1, 2, 5, kMostRows}) {
        const Lists actual = RunSubKeys(SubKeyTopK, packed.keys, queries, {rows, k}).lists;
        Lists first_rows = best;
        first_rows.values.resize(rows * k);
        first_rows.ids.resize(rows * k);
        ASSERT_EQ(actual, first_rows) << k << " best, " << rows << " rows";
      }
    });
  }
}

TEST_P(SubKeyTopKTest, IsTheReferenceForQueriesAndKeysOfEveryKind) {
  const KeyShape shape = GetParam();
  const int k = std::min(shape.n, 16);
  constexpr int kRows = 7;
  for (const Kind& key_kind : kKinds) {
    const size_t elements = size_t(shape.n) * shape.width;
    const PackedKeys packed(shape, MakeValues(key_kind, elements, shape.n));
    for (const Kind& query_kind : kKinds) {
      if (&key_kind != &kKinds[0] && &query_kind != &kKinds[0] && &query_kind != &key_kind)
        continue;
      const std::vector<float> queries =
          MakeValues(query_kind, size_t(kRows) * shape.width, shape.width);
      const Lists expected =
          RunSubKeys(SubKeyTopKReference, packed.keys, queries, {kRows, k}).lists;
      ForEachKernelTarget([&] {
        ASSERT_EQ(RunSubKeys(SubKeyTopK, packed.keys, queries, {kRows, k}).lists, expected)
            << "keys: " << key_kind.name << ", queries: " << query_kind.name;
      });
    }
  }
}

// Forty keys close to the query and to each other: bf16 scores put them in no order at all.
TEST_P(SubKeyTopKTest, IsTheReferenceWhereTheBestDifferInTheirLastBits) {
  const KeyShape shape = GetParam();
  std::mt19937 random(shape.width);
  const std::vector<float> centre = MakeValues(kKinds[0], shape.width, 3);
  const auto near_centre = [&](int i) { return centre[i] * (1 + 0x1p-11f * Normal(random)); };
  std::vector<float> rows, queries;
  for (int i = 0; i < shape.n * shape.width; ++i) {
    const bool close = i / shape.width % (shape.n / 40 + 1) == 0;
    rows.push_back(close ? near_centre(i % shape.width) : Normal(random) / 16);
  }
  for (int i = 0; i < kMostRows * shape.width; ++i) {
    queries.push_back(near_centre(i % shape.width));
  }
  const PackedKeys packed(shape, rows);
  for (const int k : {1, 16}) {
    if (k > shape.n) continue;
    const Lists expected =
        RunSubKeys(SubKeyTopKReference, packed.keys, queries, {kMostRows, k}).lists;
    ForEachKernelTarget([&] {
      ASSERT_EQ(RunSubKeys(SubKeyTopK, packed.keys, queries, {kMostRows, k}).lists, expected);
    });
  }
}

// The exponentials are right to 1.5e-7, hence so is the logarithm; the result is an f32.
TEST_P(SubKeyTopKTest, GivesTheLogSumExpOfAllScores) {
  const KeyShape shape = GetParam();
  const PackedKeys packed(shape, MakeValues(kKinds[0], size_t(shape.n) * shape.width, shape.n));
  const std::vector<float> queries = MakeValues(kKinds[0], size_t{5} * shape.width, 5);
  const int k = std::min(shape.n, 8);
  const SubKeyResult expected = RunSubKeys(SubKeyTopKReference, packed.keys, queries, {5, k, true});
  std::vector<float> first;
  ForEachKernelTarget([&] {
    const SubKeyResult actual = RunSubKeys(SubKeyTopK, packed.keys, queries, {5, k, true});
    ASSERT_EQ(actual.lists, expected.lists);
    for (int r = 0; r < 5; ++r) {
      ASSERT_NEAR(actual.log_sum_exp[r], expected.log_sum_exp[r],
                  2e-7 * (1 + std::abs(expected.log_sum_exp[r])));
    }
    if (first.empty()) first = actual.log_sum_exp;
    ASSERT_TRUE(SameBits(actual.log_sum_exp, first));
  });
}

struct CombineShape {
  int rows = 0;
  int n = 0;
  int k = 0;
  RouterScore score = RouterScore::kSoftmax;
  int listed() const { return std::min(n, k); }
};
struct Picked {
  std::vector<uint32_t> ids;
  std::vector<float> weights;
};

// Scores of both halves, [2][rows][n], and the best of each.
struct HalfScores {
  HalfScores(const Kind& kind, const CombineShape& shape)
      : scores(MakeValues(kind, size_t{2} * shape.rows * shape.n, shape.n + shape.k)),
        lists(RunTopK(TopKReference, scores, {2 * shape.rows, shape.n, shape.listed()})),
        log_sum_exp(2 * shape.rows) {
    for (int r = 0; r < 2 * shape.rows; ++r) {
      const std::span row(&scores[size_t(r) * shape.n], shape.n);
      log_sum_exp[r] = static_cast<float>(LogSumExpReference(row));
    }
  }
  std::vector<float> scores;
  Lists lists;
  std::vector<float> log_sum_exp;
};

constexpr uint32_t kFirstId = 1000;

Picked RunCombine(void (*combine)(const CombineArgs&), const HalfScores& halves,
                  const CombineShape& shape) {
  Picked picked{std::vector<uint32_t>(shape.rows * shape.k),
                std::vector<float>(shape.rows * shape.k)};
  combine({.rows = shape.rows,
           .n = shape.n,
           .listed = shape.listed(),
           .k = shape.k,
           .values = halves.lists.values.data(),
           .ids = halves.lists.ids.data(),
           .stride = size_t(shape.listed()),
           .half_stride = size_t(shape.rows) * shape.listed(),
           .log_sum_exp = {halves.log_sum_exp.data(), halves.log_sum_exp.data() + shape.rows},
           .score = shape.score,
           .first_id = kFirstId,
           .expert_ids = picked.ids.data(),
           .weights = picked.weights.data(),
           .out_stride = size_t(shape.k)});
  return picked;
}

// Exponentials are right to 1.5e-7 and the rest adds a few roundings.
void ExpectWeightsNear(const std::vector<float>& actual, const std::vector<float>& expected) {
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(actual[i])) << i;
    } else if (std::isinf(expected[i])) {
      ASSERT_EQ(actual[i], expected[i]) << i;
    } else {
      ASSERT_NEAR(actual[i], expected[i], 1e-6 * std::abs(expected[i]) + 1e-37) << i;
    }
  }
}

class CombineHalvesTest : public ::testing::TestWithParam<RouterScore> {};

INSTANTIATE_TEST_SUITE_P(Scores, CombineHalvesTest,
                         ::testing::Values(RouterScore::kSoftmax, RouterScore::kSigmoid,
                                           RouterScore::kRelu, RouterScore::kJointSoftmax));

TEST_P(CombineHalvesTest, PicksWhatTheReferencePicksForEveryKindOfValues) {
  for (const Kind& kind : kKinds) {
    for (const int n : kSizes) {
      for (const int k : kTopKs) {
        if (k > n * n) continue;
        const CombineShape shape{5, n, k, GetParam()};
        SCOPED_TRACE(std::string(kind.name) + ", " + std::to_string(k) + " of " +
                     std::to_string(n) + " squared");
        const HalfScores halves(kind, shape);
        const Picked expected = RunCombine(CombineHalvesReference, halves, shape);
        std::vector<float> first;
        ForEachKernelTarget([&] {
          const Picked actual = RunCombine(CombineHalves, halves, shape);
          ASSERT_EQ(actual.ids, expected.ids);
          ExpectWeightsNear(actual.weights, expected.weights);
          if (first.empty()) first = actual.weights;
          ASSERT_TRUE(SameBitsOrNan(actual.weights, first));
        });
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Two stages find the best of all n * n, wherever the order of their fp32 sums is certain.
TEST(ProductKeysTest, FindTheBestOfAllPairs) {
  for (const Kind& kind : kKinds) {
    for (const int n : {2, 3, 23, 32, 33, 257}) {
      for (const int k : kTopKs) {
        if (k > n * n) continue;
        const CombineShape shape{1, n, k};
        const HalfScores halves(kind, shape);
        std::vector<float> sums(n * n);
        for (int i = 0; i < n * n; ++i) sums[i] = halves.scores[i / n] + halves.scores[n + i % n];
        const int wanted = std::min(k + 1, n * n);
        std::vector<float> best(wanted);
        std::partial_sort_copy(sums.begin(), sums.end(), best.begin(), best.end(),
                               [](float a, float b) { return a > b || (a == a && b != b); });
        if (std::isnan(best[k - 1]) || (wanted > k && !(best[k] < best[k - 1]))) continue;

        const Picked picked = RunCombine(CombineHalves, halves, shape);
        std::vector<uint32_t> ids = picked.ids;
        std::sort(ids.begin(), ids.end());
        ASSERT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end()) << kind.name;
        for (const uint32_t id : ids) {
          ASSERT_GE(sums[id - kFirstId], best[k - 1]) << kind.name << ", " << k << " of " << n;
        }
      }
    }
  }
}

// Of (0, 1) and (1, 1), whose sums round to the same, the second has the lower id. But with three
// wanted, only ties give it a place.
TEST(ProductKeysTest, ATieOutsideTheStaircaseGoesToTheLowerId) {
  const std::vector<float> values = {1.0000001f, 1, -1e9f, 0, -1e8f, -1e9f};
  const std::vector<int32_t> ids = {1, 0, 2, 0, 1, 2};
  ForEachKernelTarget([&] {
    std::vector<uint32_t> picked(3);
    std::vector<float> weights(3);
    CombineHalves({.rows = 1,
                   .n = 3,
                   .listed = 3,
                   .k = 3,
                   .values = values.data(),
                   .ids = ids.data(),
                   .stride = 6,
                   .half_stride = 3,
                   .expert_ids = picked.data(),
                   .weights = weights.data(),
                   .out_stride = 3});
    EXPECT_EQ(picked, (std::vector<uint32_t>{3, 0, 1}));
  });
}

TEST(ProductKeysTest, TheLastExpertOfTheLargestLayerHasTheLargestId) {
  const std::vector<float> values = {1, 1};
  const std::vector<int32_t> last = {65535, 65535};
  uint32_t id = 0;
  float weight = 0;
  CombineHalves({.rows = 1,
                 .n = 65536,
                 .listed = 1,
                 .k = 1,
                 .values = values.data(),
                 .ids = last.data(),
                 .stride = 2,
                 .half_stride = 1,
                 .expert_ids = &id,
                 .weights = &weight,
                 .out_stride = 1});
  EXPECT_EQ(id, std::numeric_limits<uint32_t>::max());
  EXPECT_EQ(weight, 1);
}

}  // namespace
}  // namespace peerage::kernels
