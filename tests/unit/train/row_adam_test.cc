#include "train/kernels/row_adam.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "model/kernels/float16.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

struct Row {
  explicit Row(int width) {
    std::mt19937 random(width);
    std::normal_distribution<float> normal;
    for (int i = 0; i < width; ++i) {
      values.push_back(F32FromBF16(BF16FromF32(normal(random))));
      gradient.push_back(normal(random));
      first.push_back(0.1f * normal(random));
      second.push_back(std::abs(normal(random)));
    }
  }
  std::vector<float> values, gradient, first, second;
};

AdamArgs Args() {
  return {.learning_rate = 0.01f,
          .beta1 = 0.9f,
          .beta2 = 0.99f,
          .epsilon = 1e-6f,
          .weight_decay = 0.1f,
          .correction1 = 0.271f,
          .correction2 = 0.0297f,
          .gradient_scale = 0.5f};
}

// Algorithm 1 in double.
Row Expected(const AdamArgs& a, Row row) {
  double mean = 0;
  for (const float g : row.gradient) mean += std::pow(a.gradient_scale * double{g}, 2);
  mean /= static_cast<double>(row.gradient.size());
  const double row_second = a.beta2 * double{row.second[0]} + (1 - double{a.beta2}) * mean;
  for (size_t i = 0; i < row.values.size(); ++i) {
    const double g = a.gradient_scale * double{row.gradient[i]};
    const double m = a.beta1 * double{row.first[i]} + (1 - double{a.beta1}) * g;
    const double v = a.one_variance
                         ? row_second
                         : a.beta2 * double{row.second[i]} + (1 - double{a.beta2}) * g * g;
    const double kept = row.values[i] * (1 - double{a.learning_rate} * a.weight_decay);
    row.values[i] = static_cast<float>(kept - a.learning_rate * (m / a.correction1) /
                                                  (std::sqrt(v / a.correction2) + a.epsilon));
    row.first[i] = static_cast<float>(m);
    row.second[i] = static_cast<float>(v);
  }
  return row;
}

TEST(RowAdamTest, StepsAreThoseOfTheAlgorithm) {
  ForEachTarget([&] {
    for (const bool one_variance : {false, true}) {
      for (const int width : {1, 3, 16, 33, 257}) {
        SCOPED_TRACE(width);
        AdamArgs args = Args();
        args.one_variance = one_variance;
        const Row expected = Expected(args, Row(width));
        Row row(width), stored(width);
        std::vector<uint16_t> bf16;
        for (const float value : stored.values) bf16.push_back(BF16FromF32(value));

        AdamRow(args, {width, row.first.data(), row.second.data()}, row.gradient.data(),
                row.values.data());
        AdamRow(args, {width, stored.first.data(), stored.second.data()}, stored.gradient.data(),
                bf16.data());

        for (int i = 0; i < width; ++i) {
          EXPECT_NEAR(row.values[i], expected.values[i], 1e-6);
          EXPECT_NEAR(row.first[i], expected.first[i], 1e-6);
          if (!one_variance || i == 0) {
            EXPECT_NEAR(row.second[i], expected.second[i], 1e-6);
          }
          EXPECT_EQ(bf16[i], BF16FromF32(row.values[i]));
        }
        EXPECT_EQ(stored.first, row.first);
        EXPECT_EQ(stored.second, row.second);
      }
    }
  });
}

}  // namespace
}  // namespace peerage::kernels
