#include "model/kernels/product_keys_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "model/kernels/float16.h"
#include "model/kernels/product_keys.h"
#include "tests/cuda/support/device_array.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Picks {
  std::vector<uint32_t> ids;
  std::vector<float> weights;
};

// Queries and sub-keys, and what the CPU's references make of them.
struct Selection {
  Selection(const ProductKeyShape& shape, int count, DeviceFloat type = DeviceFloat::kBF16)
      : shape(shape),
        count(count),
        type(type),
        width(shape.sets == 0 ? shape.num_sub_keys : shape.half_width),
        queries(RandomValues(size_t(count) * shape.heads * 2 * width, 1)),
        sub_keys(RandomValues(size_t(shape.sets) * shape.num_sub_keys * shape.half_width, 2, 0.25)),
        positions(count) {
    std::iota(positions.begin(), positions.end(), 0);
    Round();
  }

  // Few values, whose sums are exact in every order and tie often.
  Selection& Coarse(int values) {
    std::mt19937 random(7);
    for (float& q : queries) q = int(random() % values) - values / 2;
    for (float& k : sub_keys) k = int(random() % 3) - 1;
    return *this;
  }

  void Round() {
    if (type != DeviceFloat::kBF16) return;
    for (float& k : sub_keys) k = F32FromBF16(BF16FromF32(k));
  }

  Picks Run(cudaStream_t stream, int first = 0, int tokens = -1) const {
    if (tokens < 0) tokens = count - first;
    std::vector<uint16_t> bits;
    for (const float k : sub_keys) bits.push_back(BF16FromF32(k));
    const DeviceArray<float> q(queries), keys32(sub_keys);
    const DeviceArray<uint16_t> keys16(bits);
    const DeviceArray<int32_t> place(positions);
    const size_t picks = size_t(tokens) * shape.heads * shape.top_k;
    const DeviceArray<uint32_t> ids(picks + 4, 77);
    const DeviceArray<float> weights(picks + 4, 77);
    const size_t scratch_bytes = SelectScratchBytes(shape, tokens);
    const DeviceArray<uint8_t> scratch(scratch_bytes + 16, 0xab);
    EXPECT_EQ(SelectExperts(
                  {.shape = shape,
                   .queries = q.data() + size_t(first) * shape.heads * 2 * width,
                   .sub_keys = type == DeviceFloat::kF32 ? static_cast<const void*>(keys32.data())
                                                         : keys16.data(),
                   .sub_key_type = type,
                   .positions = place.data() + first,
                   .ids = ids.data(),
                   .weights = weights.data(),
                   .count = tokens,
                   .scratch = scratch.data()},
                  stream),
              cudaSuccess)
        << Describe();
    Picks result{ids.Read(), weights.Read()};
    for (size_t i = picks; i < picks + 4; ++i) {
      EXPECT_EQ(result.ids[i], 77u) << Describe();
      EXPECT_EQ(result.weights[i], 77) << Describe();
    }
    const std::vector<uint8_t> used = scratch.Read();
    for (size_t i = scratch_bytes; i < used.size(); ++i) EXPECT_EQ(used[i], 0xab) << Describe();
    result.ids.resize(picks);
    result.weights.resize(picks);
    return result;
  }

  const float* Query(int row, int half) const { return &queries[(size_t(row) * 2 + half) * width]; }
  const float* Key(int head, int half, int key) const {
    const size_t set = (shape.sets > 2 ? head * 2 : 0) + half;
    return &sub_keys[(set * shape.num_sub_keys + key) * shape.half_width];
  }
  // As the CPU has them: chains of fused multiply-adds.
  float Score(int row, int half, int key) const {
    if (shape.sets == 0) return Query(row, half)[key];
    float score = 0;
    for (int i = 0; i < width; ++i) {
      score = std::fma(Key(row % shape.heads, half, key)[i], Query(row, half)[i], score);
    }
    return score;
  }

  Picks Reference() const {
    const int listed = std::min(shape.num_sub_keys, shape.top_k);
    Picks picks;
    for (int row = 0; row < count * shape.heads; ++row) {
      std::vector<float> values(2 * listed);
      std::vector<int32_t> ids(2 * listed);
      float log_sum_exp[2];
      for (int half = 0; half < 2; ++half) {
        std::vector<float> scores;
        for (int key = 0; key < shape.num_sub_keys; ++key) scores.push_back(Score(row, half, key));
        TopKReference({.scores = scores.data(),
                       .rows = 1,
                       .n = shape.num_sub_keys,
                       .k = listed,
                       .values = &values[half * listed],
                       .ids = &ids[half * listed]});
        double total = 0;
        for (const float s : scores) total += std::exp(double{s} - values[half * listed]);
        log_sum_exp[half] = values[half * listed] + std::log(total);
      }
      std::vector<uint32_t> experts(shape.top_k);
      std::vector<float> weights(shape.top_k);
      CombineHalvesReference({.rows = 1,
                              .n = shape.num_sub_keys,
                              .listed = listed,
                              .k = shape.top_k,
                              .values = values.data(),
                              .ids = ids.data(),
                              .half_stride = size_t(listed),
                              .log_sum_exp = {&log_sum_exp[0], &log_sum_exp[1]},
                              .score = shape.score,
                              .first_id = shape.head_offset * (row % shape.heads),
                              .expert_ids = experts.data(),
                              .weights = weights.data()});
      if (positions[row / shape.heads] < 0) {
        std::fill(experts.begin(), experts.end(), kNoExpert);
        std::fill(weights.begin(), weights.end(), 0.0f);
      }
      picks.ids.insert(picks.ids.end(), experts.begin(), experts.end());
      picks.weights.insert(picks.weights.end(), weights.begin(), weights.end());
    }
    return picks;
  }

  std::string Describe() const {
    return "n " + std::to_string(shape.num_sub_keys) + ", k " + std::to_string(shape.top_k) +
           ", heads " + std::to_string(shape.heads) + ", half width " +
           std::to_string(shape.half_width) + ", sets " + std::to_string(shape.sets) + ", score " +
           std::to_string(static_cast<int>(shape.score)) + ", count " + std::to_string(count) +
           (type == DeviceFloat::kF32 ? ", f32" : ", bf16");
  }

  ProductKeyShape shape;
  int count;
  DeviceFloat type;
  int width;
  std::vector<float> queries, sub_keys;
  std::vector<int32_t> positions;
};

testing::AssertionResult IsNear(float got, float expected, double relative, double absolute) {
  const bool both_nan = std::isnan(got) && std::isnan(expected);
  if (both_nan || got == expected ||
      std::abs(got - expected) <= relative * std::abs(expected) + absolute) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << got << " for " << expected;
}

class ProductKeysCudaTest : public CudaTest {
 protected:
  // Where scores are the CPU's to the bit. A weight errs by the exponentials and their sums.
  void ExpectEqual(const Selection& selection) {
    const Picks expected = selection.Reference(), got = selection.Run(stream_);
    for (size_t i = 0; i < expected.ids.size(); ++i) {
      ASSERT_EQ(got.ids[i], expected.ids[i]) << selection.Describe() << ", pick " << i;
      EXPECT_TRUE(IsNear(got.weights[i], expected.weights[i], 5e-6, 1e-30))
          << selection.Describe() << ", pick " << i;
    }
  }

  // Where scores are added in another order: sums of sub-keys may err by a few units of the product
  // of norms, so picks whose sums are that close may change places.
  void ExpectNear(const Selection& selection) {
    const ProductKeyShape& shape = selection.shape;
    const Picks expected = selection.Reference(), got = selection.Run(stream_);
    const uint32_t n = shape.num_sub_keys;
    for (size_t i = 0; i < expected.ids.size(); ++i) {
      const int row = i / shape.top_k;
      const uint32_t first = shape.head_offset * (row % shape.heads);
      const auto sum = [&](uint32_t id) {
        const uint32_t expert = id - first;
        EXPECT_LT(uint64_t{expert}, uint64_t{n} * n) << selection.Describe();
        return selection.Score(row, 0, expert / n) + selection.Score(row, 1, expert % n);
      };
      const double tolerance = Tolerance(selection, row);
      if (got.ids[i] != expected.ids[i]) {
        ASSERT_NEAR(sum(got.ids[i]), sum(expected.ids[i]), tolerance)
            << selection.Describe() << ", pick " << i;
      }
      EXPECT_TRUE(IsNear(got.weights[i], expected.weights[i], 5e-6 + 4 * tolerance, tolerance))
          << selection.Describe() << ", pick " << i;
    }
    for (size_t i = 0; i < got.ids.size(); i += shape.top_k) {
      const std::set<uint32_t> different(&got.ids[i], &got.ids[i] + shape.top_k);
      EXPECT_EQ(different.size(), size_t(shape.top_k)) << selection.Describe();
    }
  }

  static double Tolerance(const Selection& selection, int row) {
    double most = 0;
    for (int half = 0; half < 2; ++half) {
      const auto norm = [&](const float* v) {
        return std::sqrt(std::inner_product(v, v + selection.width, v, 0.0));
      };
      double longest = 0;
      for (int key = 0; key < selection.shape.num_sub_keys; ++key) {
        longest = std::max(longest, norm(selection.Key(row % selection.shape.heads, half, key)));
      }
      most += longest * norm(selection.Query(row, half));
    }
    return (std::sqrt(selection.width) + 4) * 0x1p-24 * most;
  }
};

constexpr RouterScore kScores[] = {RouterScore::kSoftmax, RouterScore::kSigmoid, RouterScore::kRelu,
                                   RouterScore::kJointSoftmax};

TEST_F(ProductKeysCudaTest, SelectOnTensorCores) {
  for (const int n : {16, 24, 129, 600, 1024}) {
    for (const int half_width : {16, 128}) {
      for (const int sets : {2, 4}) {
        ExpectNear(Selection({.heads = 2,
                              .top_k = 16,
                              .num_sub_keys = n,
                              .half_width = half_width,
                              .sets = sets,
                              .head_offset = sets == 2 ? 0u : uint32_t(n * n)},
                             3));
      }
    }
  }
  for (const int half_width : {48, 144, 256, 272, 512}) {
    ExpectNear(Selection(
        {.heads = 1, .top_k = 8, .num_sub_keys = 70, .half_width = half_width, .sets = 2}, 18));
  }
}

// Sub-keys that are unit vectors make a query's elements its scores: these differ in bits that only
// the third part of a query holds.
TEST_F(ProductKeysCudaTest, ScoreEveryBitOfAQueryOnTensorCores) {
  Selection selection({.heads = 1, .top_k = 16, .num_sub_keys = 64, .half_width = 64, .sets = 2},
                      9);
  for (size_t i = 0; i < selection.sub_keys.size(); ++i) {
    selection.sub_keys[i] = i % 64 == i / 64 % 64 ? 1 : 0;
  }
  std::mt19937 random(4);
  for (float& q : selection.queries) q = 1 + 0x1p-9f + int(random() % 64) * 0x1p-23f;
  ExpectEqual(selection);
}

TEST_F(ProductKeysCudaTest, SelectTheCpusPicksByMultiplyAdds) {
  for (const DeviceFloat type : {DeviceFloat::kF32, DeviceFloat::kBF16}) {
    for (const int n : {1, 5, 65, 600}) {
      for (const int half_width : {1, 33, 100}) {
        for (const int top_k : {1, 16}) {
          ExpectEqual(Selection({.heads = 3,
                                 .top_k = std::min(top_k, n * n),
                                 .num_sub_keys = n,
                                 .half_width = half_width,
                                 .sets = 6},
                                2, type));
        }
      }
    }
  }
}

TEST_F(ProductKeysCudaTest, SelectByDirectScores) {
  for (const int n : {1, 3, 31, 33, 129, 1030}) {
    for (const int top_k : {1, 7, 16, 32, 33, 128}) {
      ExpectEqual(Selection({.heads = 2, .top_k = std::min(top_k, n * n), .num_sub_keys = n}, 3));
    }
  }
}

TEST_F(ProductKeysCudaTest, SelectAllWhereEveryExpertIsWanted) {
  for (const int n : {1, 2, 3, 11}) {
    ExpectEqual(Selection({.heads = 2, .top_k = std::min(n * n, 121), .num_sub_keys = n}, 4));
  }
}

TEST_F(ProductKeysCudaTest, SelectAmongManySubKeys) {
  ExpectEqual(Selection({.heads = 1, .top_k = 128, .num_sub_keys = 65536}, 1));
  ExpectEqual(Selection({.heads = 1, .top_k = 16, .num_sub_keys = 30001}, 2));
  ExpectNear(
      Selection({.heads = 1, .top_k = 16, .num_sub_keys = 5000, .half_width = 16, .sets = 2}, 1));
}

TEST_F(ProductKeysCudaTest, MakeWeightsByEveryScore) {
  for (const RouterScore score : kScores) {
    ExpectNear(Selection({.heads = 2,
                          .top_k = 16,
                          .num_sub_keys = 600,
                          .half_width = 32,
                          .sets = 4,
                          .head_offset = 1000000,
                          .score = score},
                         5));
    ExpectEqual(Selection({.heads = 2, .top_k = 40, .num_sub_keys = 1100, .score = score}, 5));
  }
}

TEST_F(ProductKeysCudaTest, TakeLowerIdsAmongEquals) {
  for (const int top_k : {1, 16, 32, 100}) {
    for (const int values : {1, 5}) {
      for (const int n : {32, 600}) {
        ExpectEqual(
            Selection({.heads = 2, .top_k = top_k, .num_sub_keys = n, .half_width = 16, .sets = 4},
                      2)
                .Coarse(values));
        ExpectEqual(Selection({.heads = 1, .top_k = top_k, .num_sub_keys = n}, 2).Coarse(values));
      }
    }
  }
}

// One half's scores are so large that adding the other half's rounds: pairs outside of those that
// sorted lists suggest are as large, and have lower ids.
TEST_F(ProductKeysCudaTest, TakeLowerIdsWhereSumsRound) {
  std::mt19937 random(3);
  for (const int top_k : {5, 16, 64}) {
    Selection selection({.heads = 1, .top_k = top_k, .num_sub_keys = 200}, 20);
    for (size_t i = 0; i < selection.queries.size(); ++i) {
      selection.queries[i] =
          i / 200 % 2 == 0 ? 0x1p24f + 4 * int(random() % 4) : int(random() % 9) - 4;
    }
    ExpectEqual(selection);
  }
}

TEST_F(ProductKeysCudaTest, TellZerosOfBothSignsApartByIdAlone) {
  Selection selection({.heads = 1, .top_k = 16, .num_sub_keys = 40}, 2);
  for (size_t i = 0; i < selection.queries.size(); ++i) selection.queries[i] = i % 3 ? -0.0f : 0.0f;
  ExpectEqual(selection);
}

TEST_F(ProductKeysCudaTest, PutNanAfterEveryNumber) {
  for (const RouterScore score : kScores) {
    for (const int top_k : {16, 50}) {
      Selection selection({.heads = 2, .top_k = top_k, .num_sub_keys = 60, .score = score}, 6);
      std::mt19937 random(5);
      for (size_t i = 0; i < selection.queries.size(); ++i) {
        const int token = i / (4 * 60);
        float& q = selection.queries[i];
        if (token == 0 && random() % 10 == 0) q = kNan;  // some
        if (token == 1 && random() % 10 != 0) q = kNan;  // nearly all
        if (token == 2) q = kNan;
        if (token == 3 && random() % 4 == 0) q = -kInfinity;
        if (token == 4 && random() % 4 == 0) q = random() % 2 ? kInfinity : -kInfinity;
        // Sums of what is best are no numbers, and few others are left where sorted lists suggest.
        if (token == 5 && i / 60 % 2 == 0) q = -kInfinity;
        if (token == 5 && i / 60 % 2 == 1 && i % 60 < 5) q = kInfinity;
      }
      ExpectEqual(selection);
    }
  }
}

TEST_F(ProductKeysCudaTest, KeepNanAndInfinityToTheirOwnQuery) {
  for (const float bad : {kNan, kInfinity}) {
    for (const int half_width : {32, 33}) {
      Selection selection(
          {.heads = 1, .top_k = 8, .num_sub_keys = 50, .half_width = half_width, .sets = 2}, 4);
      const Picks before = selection.Run(stream_);
      selection.queries[(2 * 2) * half_width + 3] = bad;
      const Picks after = selection.Run(stream_), expected = selection.Reference();
      for (int i = 0; i < 4 * 8; ++i) {
        if (i / 8 == 2) {
          ASSERT_EQ(after.ids[i], expected.ids[i]) << selection.Describe();
          ASSERT_TRUE(std::isnan(after.weights[i])) << selection.Describe();
        } else {
          ASSERT_EQ(after.ids[i], before.ids[i]) << selection.Describe();
          ASSERT_EQ(after.weights[i], before.weights[i]) << selection.Describe();
        }
      }
    }
  }
}

TEST_F(ProductKeysCudaTest, GivePaddingNoExpertAndNoWeight) {
  for (const int sets : {0, 2, 6}) {
    Selection selection(
        {.heads = 3, .top_k = 5, .num_sub_keys = 40, .half_width = 16, .sets = sets}, 40);
    for (int t = 20; t < 40; ++t) {
      selection.positions[t] = -1;  // more than a tile
      std::fill_n(&selection.queries[size_t(t) * 3 * 2 * selection.width], 6 * selection.width,
                  kNan);
    }
    selection.positions[3] = -1;
    if (sets == 0) {
      ExpectEqual(selection);
    } else {
      const Picks picks = selection.Run(stream_);
      for (size_t i = 0; i < picks.ids.size(); ++i) {
        const int t = i / 15;
        ASSERT_EQ(picks.ids[i] == kNoExpert, selection.positions[t] < 0) << t;
        ASSERT_EQ(picks.weights[i] == 0, selection.positions[t] < 0) << t;
      }
    }
  }
}

// A few tokens are scored in small chunks, many in large ones or in several passes.
TEST_F(ProductKeysCudaTest, GiveTheSameBitsAloneAndInABatch) {
  for (const RouterScore score : {RouterScore::kSoftmax, RouterScore::kJointSoftmax}) {
    const Selection selection({.heads = 8,
                               .top_k = 16,
                               .num_sub_keys = 600,
                               .half_width = 16,
                               .sets = 16,
                               .score = score},
                              130);
    const Picks together = selection.Run(stream_);
    for (const int first : {0, 77}) {
      for (const int tokens : {1, 17}) {
        const Picks some = selection.Run(stream_, first, tokens);
        const size_t at = size_t(first) * 8 * 16;
        for (size_t i = 0; i < some.ids.size(); ++i) {
          ASSERT_EQ(some.ids[i], together.ids[at + i]);
          ASSERT_EQ(std::memcmp(&some.weights[i], &together.weights[at + i], sizeof(float)), 0);
        }
      }
    }
  }
}

TEST_F(ProductKeysCudaTest, WorkInPassesWhereListsAreMany) {
  const ProductKeyShape shape{.heads = 2, .top_k = 128, .num_sub_keys = 20000};
  EXPECT_LE(SelectScratchBytes(shape, 100000), size_t{33} << 20);
  // A token has 2 heads of 2 halves of 40 lists of 128 entries: 160 KiB.
  const int tokens = SelectScratchBytes(shape, 100000) / (160 << 10);
  Selection selection(shape, tokens + 3);
  for (int t = 1; t < tokens + 2; ++t) selection.positions[t] = -1;  // quick
  standin::ResetCounters();
  const Picks all = selection.Run(stream_);
  const uint64_t passes = standin::Counters("ProductKeySumKernel").launches;
  EXPECT_EQ(passes, standin::IsPresent() ? 2u : 0u);
  const Picks last = selection.Run(stream_, tokens + 2, 1);
  for (size_t i = 0; i < last.ids.size(); ++i) {
    ASSERT_EQ(last.ids[i], all.ids[all.ids.size() - last.ids.size() + i]);
  }
}

TEST_F(ProductKeysCudaTest, NeedNoMoreScratchForFewerTokens) {
  for (const int n : {100, 512, 1024, 4096, 65536}) {
    for (const int sets : {0, 2, 16}) {
      size_t before = 0;
      for (int count = 0; count < 3000; ++count) {
        const size_t bytes = SelectScratchBytes(
            {.heads = 8, .top_k = 16, .num_sub_keys = n, .half_width = 64, .sets = sets}, count);
        ASSERT_GE(bytes, before) << n << ", " << sets << ", " << count;
        before = bytes;
      }
    }
  }
}

TEST_F(ProductKeysCudaTest, DoNothingForNoTokens) {
  const Selection selection(
      {.heads = 2, .top_k = 4, .num_sub_keys = 20, .half_width = 16, .sets = 2}, 2);
  EXPECT_TRUE(selection.Run(stream_, 0, 0).ids.empty());
}

TEST_F(ProductKeysCudaTest, RefuseShapesThatAreNone) {
  const ProductKeyShape good{
      .heads = 2, .top_k = 4, .num_sub_keys = 20, .half_width = 4, .sets = 2};
  const std::vector<std::function<void(ProductKeyShape&)>> breaks = {
      [](ProductKeyShape& s) { s.top_k = 129; },
      [](ProductKeyShape& s) { s.top_k = 0; },
      [](ProductKeyShape& s) { s.num_sub_keys = 1; },
      [](ProductKeyShape& s) { s.heads = 0; },
      [](ProductKeyShape& s) { s.sets = 3; },
      [](ProductKeyShape& s) { s.half_width = 0; },
      [](ProductKeyShape& s) { s.num_sub_keys = 65537; }};
  for (const auto& break_it : breaks) {
    ProductKeyShape shape = good;
    break_it(shape);
    EXPECT_EQ(SelectExperts({.shape = shape}, stream_), cudaErrorInvalidValue);
  }
}

TEST_F(ProductKeysCudaTest, ReadKeysInFullSectorsWithoutBankConflicts) {
  if (!standin::IsPresent()) GTEST_SKIP() << "a GPU does not count sectors for a test";
  const Selection selection(
      {.heads = 2, .top_k = 16, .num_sub_keys = 1024, .half_width = 128, .sets = 4}, 16);
  standin::ResetCounters();
  selection.Run(stream_);
  const standin::KernelCounters lists = standin::Counters("SubKeyListKernel");
  EXPECT_EQ(lists.bank_conflicts, 0u);
  // Each sub-key once; queries by every chunk of 128; positions by everyone.
  const size_t keys = 4 * 1024 * 128 * 2 / 32, queries = 16 * 2 * 2 * 128 * 4 / 32 * 8;
  EXPECT_GE(lists.load_sectors, keys + queries);
  EXPECT_LE(lists.load_sectors, (keys + queries) * 11 / 10);
  RecordProperty("list_instructions", std::to_string(lists.instructions));
}

}  // namespace
}  // namespace peerage::kernels::cuda
