#include "train/kernels/key_gradients.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr int64_t kTokens = 5, kHeads = 3, kHead = 1;

// Gradients of one head of several, whose queries are strided.
template <typename V>
struct Gradients {
  std::vector<V> of_queries;   // [tokens][2][heads][width]
  std::vector<V> of_sub_keys;  // [n][2][width]
};

template <typename V>
Gradients<V> GradientsOf(int64_t n, int64_t width, int64_t top_k) {
  std::mt19937 random(static_cast<uint32_t>(n + width));
  std::normal_distribution<float> normal;
  const auto numbers = [&](int64_t count) {
    std::vector<V> values(count);
    for (V& value : values) value = normal(random);
    return values;
  };
  std::vector<int64_t> ids(kTokens * kHeads * top_k);
  for (int64_t& id : ids) id = static_cast<int64_t>(random()) % (n * n);
  const std::vector<V> scores = numbers(kTokens * kHeads * top_k);
  const std::vector<V> queries = numbers(kTokens * 2 * kHeads * width);
  const std::vector<V> sub_keys = numbers(n * 2 * width);
  Gradients<V> found{std::vector<V>(queries.size(), -7), std::vector<V>(sub_keys.size(), 1)};
  const int64_t head = kHead * width, half = kHeads * width;
  KeyGradients(KeyGradientsArgs<V>{
      .tokens = kTokens,
      .top_k = top_k,
      .n = n,
      .width = width,
      .pick_stride = kHeads * top_k,
      .ids = ids.data() + kHead * top_k,
      .score_gradients = scores.data() + kHead * top_k,
      .queries = {queries.data() + head, queries.data() + head + half},
      .query_stride = 2 * half,
      .sub_keys = sub_keys.data(),
      .query_gradients = {found.of_queries.data() + head, found.of_queries.data() + head + half},
      .query_gradient_stride = 2 * half,
      .sub_key_gradients = found.of_sub_keys.data()});
  return found;
}

TEST(KeyGradientsTest, AreThoseInDouble) {
  ForEachTarget([] {
    for (const int64_t n : {int64_t{1}, int64_t{7}, int64_t{128}}) {
      for (const int64_t width : {1, 5, 16, 32, 33, 64, 100, 128}) {
        for (const int64_t top_k : {1, 16}) {
          SCOPED_TRACE(testing::Message() << "n " << n << ", width " << width << ", top " << top_k);
          const Gradients<double> expected = GradientsOf<double>(n, width, top_k);
          const Gradients<float> found = GradientsOf<float>(n, width, top_k);
          for (size_t i = 0; i < expected.of_queries.size(); ++i) {
            EXPECT_NEAR(found.of_queries[i], expected.of_queries[i], 2e-5) << i;
          }
          for (size_t i = 0; i < expected.of_sub_keys.size(); ++i) {
            EXPECT_NEAR(found.of_sub_keys[i], expected.of_sub_keys[i], 5e-5) << i;
          }
        }
      }
    }
  });
}

TEST(KeyGradientsTest, TheSpecificationItself) {
  // One token with the picks (1, 0) and (1, 1) of two sub-keys a half, of width 1.
  const std::vector<int64_t> ids = {2, 3};
  const std::vector<double> scores = {10, 1}, query = {5, 7}, sub_keys = {2, 3, 4, 6};
  std::vector<double> of_query(2), of_keys = {100, 200, 300, 400};

  KeyGradients(KeyGradientsArgs<double>{.tokens = 1,
                                        .top_k = 2,
                                        .n = 2,
                                        .width = 1,
                                        .ids = ids.data(),
                                        .score_gradients = scores.data(),
                                        .queries = {&query[0], &query[1]},
                                        .sub_keys = sub_keys.data(),
                                        .query_gradients = {&of_query[0], &of_query[1]},
                                        .sub_key_gradients = of_keys.data()});

  EXPECT_EQ(of_query, (std::vector<double>{11 * 4, 10 * 3 + 1 * 6}));
  EXPECT_EQ(of_keys, (std::vector<double>{100, 200 + 10 * 7, 300 + 11 * 5, 400 + 1 * 7}));
}

TEST(KeyGradientsTest, IdsOfManySubKeysMayBeLarge) {
  const int64_t n = 70000;
  const std::vector<int64_t> ids = {(n - 1) * n + 3};
  const std::vector<float> score = {2}, query = {5, 7};
  std::vector<float> sub_keys(2 * n), of_query(2), of_keys(2 * n);
  sub_keys[2 * (n - 1)] = 3;
  sub_keys[2 * 3 + 1] = 4;

  KeyGradients(KeyGradientsArgs<float>{.tokens = 1,
                                       .top_k = 1,
                                       .n = n,
                                       .width = 1,
                                       .ids = ids.data(),
                                       .score_gradients = score.data(),
                                       .queries = {&query[0], &query[1]},
                                       .sub_keys = sub_keys.data(),
                                       .query_gradients = {&of_query[0], &of_query[1]},
                                       .sub_key_gradients = of_keys.data()});

  EXPECT_EQ(of_query, (std::vector<float>{6, 8}));
  EXPECT_EQ(of_keys[2 * (n - 1)], 10);
  EXPECT_EQ(of_keys[2 * 3 + 1], 14);
}

}  // namespace
}  // namespace peerage::kernels
