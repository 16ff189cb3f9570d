#include "train/kernels/product_key_sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace peerage::kernels {
namespace {

template <typename V>
struct Found {
  std::vector<V> values;
  std::vector<int64_t> ids;
};

template <typename V>
Found<V> Best(const std::vector<V>& scores, int64_t k) {
  Found<V> best{std::vector<V>(k), {}};
  std::vector<int32_t> ids(k);
  BestOf(ScoreRow<V>{scores.data(), static_cast<int64_t>(scores.size()), k},
         ScoredList<V>{best.values.data(), ids.data()});
  best.ids.assign(ids.begin(), ids.end());
  return best;
}

// The best k sums of rows' lists, which are the best `listed` of random scores.
template <typename V>
Found<V> Sums(int64_t n, int64_t listed, int64_t k) {
  constexpr int64_t kRows = 3;
  std::mt19937 random(static_cast<uint32_t>(n));
  std::normal_distribution<float> normal;
  std::vector<V> values;
  std::vector<int32_t> ids;
  for (int64_t list = 0; list < 2 * kRows; ++list) {
    std::vector<V> scores(n);
    for (V& score : scores) score = normal(random);
    const Found<V> best = Best(scores, listed);
    values.insert(values.end(), best.values.begin(), best.values.end());
    ids.insert(ids.end(), best.ids.begin(), best.ids.end());
  }
  Found<V> out{std::vector<V>(kRows * k), std::vector<int64_t>(kRows * k)};
  BestSums({n, listed, k, kRows}, values.data(), ids.data(),
           BestSumsOut<V>{out.values.data(), out.ids.data()});
  return out;
}

TEST(ProductKeySumsTest, F32FindsWhatF64Finds) {
  for (const auto& [n, listed, k] :
       {std::tuple{1, 1, 1}, std::tuple{5, 3, 7}, std::tuple{64, 16, 16}, std::tuple{300, 128, 128},
        std::tuple{300, 20, 150}, std::tuple{400, 200, 200}}) {
    SCOPED_TRACE(k);
    const Found<float> f32 = Sums<float>(n, listed, k);
    const Found<double> f64 = Sums<double>(n, listed, k);
    EXPECT_EQ(f32.ids, f64.ids);
    for (size_t i = 0; i < f32.values.size(); ++i) {
      EXPECT_NEAR(f32.values[i], f64.values[i], 1e-6);
    }
  }
}

TEST(ProductKeySumsTest, EqualSumsAreInOrderOfIdsAndNanComesLast) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Found<double> best = Best<double>({1, nan, 2, 1, 2}, 5);
  EXPECT_EQ(best.ids, (std::vector<int64_t>{2, 4, 0, 3, 1}));
  EXPECT_TRUE(std::isnan(best.values[4]));
  const std::vector<float> scores = {1, std::numeric_limits<float>::quiet_NaN(), 2, 1, 2};
  EXPECT_EQ(Best(scores, 5).ids, best.ids);
}

}  // namespace
}  // namespace peerage::kernels
