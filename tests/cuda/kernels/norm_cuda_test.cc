#include "model/kernels/norm_cuda.h"

#include <gmock/gmock.h>

#include <cmath>
#include <vector>

#include "model/kernels/norm.h"
#include "tests/cuda/kernels/device_floats.h"
#include "tests/cuda/kernels/instruction_budget.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

using testing::Each;

constexpr int kWidths[] = {1, 3, 8, 31, 33, 97, 128, 257, 576, 2048, 2056};
constexpr float kUntouched = -7;

class NormCudaTest : public CudaTest {
 protected:
  struct Case {
    bool layer_norm = false;
    DeviceFloat x_type = DeviceFloat::kF32, y_type = DeviceFloat::kF32;
    int width = 0;
    bool bias = false;
    std::vector<int32_t> rows = {};  // picked; none: all, in order
    int gap = 0;                     // elements between two rows, of x and of y
    int unaligned = 0;
  };

  // `x` has rows of the width alone.
  std::vector<float> Run(const Case& c, const std::vector<float>& x) {
    const int given = static_cast<int>(x.size()) / c.width, stride = c.width + c.gap;
    const int count = c.rows.empty() ? given : static_cast<int>(c.rows.size());
    std::vector<float> spread(size_t(given) * stride, kNan);
    for (int i = 0; i < given * c.width; ++i) spread[i / c.width * stride + i % c.width] = x[i];
    const DeviceFloats in(c.x_type, spread, c.unaligned);
    const DeviceFloats out(c.y_type, size_t(count) * stride, kUntouched, c.unaligned);
    const DeviceArray<float> weight(Weight(c)), bias(Bias(c));
    const DeviceArray<int32_t> rows(c.rows);
    EXPECT_EQ(Norm({.layer_norm = c.layer_norm,
                    .x = in.data(),
                    .x_type = c.x_type,
                    .x_stride = size_t(stride),
                    .weight = weight.data(),
                    .bias = c.bias ? bias.data() : nullptr,
                    .rows = c.rows.empty() ? nullptr : rows.data(),
                    .y = out.data(),
                    .y_type = c.y_type,
                    .y_stride = size_t(stride),
                    .epsilon = kEpsilon,
                    .count = count,
                    .width = c.width},
                   stream_),
              cudaSuccess);
    return WithoutGaps(out.Read(), c);
  }

  // In double, before rounding to the type of y.
  static std::vector<double> Expected(const Case& c, const std::vector<float>& x) {
    const std::vector<float> given = Rounded(c.x_type, x), weight = Weight(c);
    std::vector<float> y(x.size());
    const kernels::NormArgs args = {given.data(), size_t(c.width), weight.data(),  kEpsilon,
                                    c.width,      y.data(),        size_t(c.width)};
    const int count = static_cast<int>(x.size()) / c.width;
    c.layer_norm ? LayerNormReference(args, 0, count) : RmsNormReference(args, 0, count);
    std::vector<double> sums(y.begin(), y.end());
    for (size_t i = 0; c.bias && i < sums.size(); ++i) sums[i] += Bias(c)[i % c.width];
    return sums;
  }

  // A sum of n squares in f32 is off by up to some sqrt(n) roundings, its root by half as many; the
  // mean's error counts as much as the largest value.
  static void ExpectNear(const Case& c, const std::vector<float>& y,
                         const std::vector<double>& expected) {
    ASSERT_EQ(y.size(), expected.size());
    const double f32 = 0x1p-24 * (8 + 2 * std::sqrt(c.width));
    for (size_t i = 0; i < y.size(); ++i) {
      const double size = std::abs(expected[i]) + (c.layer_norm || c.bias ? 4 : 0);
      EXPECT_NEAR(y[i], expected[i], f32 * size + RoundingOf(c.y_type) * std::abs(expected[i]))
          << "at " << i;
    }
  }

  static std::vector<float> Weight(const Case& c) { return RandomValues(c.width, 17); }
  static std::vector<float> Bias(const Case& c) { return RandomValues(c.width, 19); }

  static constexpr float kEpsilon = 1e-5f;

 private:
  static std::vector<float> WithoutGaps(const std::vector<float>& y, const Case& c) {
    std::vector<float> dense;
    const int stride = c.width + c.gap;
    for (size_t i = 0; i < y.size(); ++i) {
      if (static_cast<int>(i % stride) < c.width) {
        dense.push_back(y[i]);
      } else {
        EXPECT_EQ(y[i], kUntouched) << "between rows, at " << i;
      }
    }
    return dense;
  }
};

TEST_F(NormCudaTest, EqualsTheReference) {
  for (const int width : kWidths) {
    for (const bool layer_norm : {false, true}) {
      for (const DeviceFloat x_type : kDeviceFloats) {
        for (const DeviceFloat y_type : kDeviceFloats) {
          const Case c = {.layer_norm = layer_norm,
                          .x_type = x_type,
                          .y_type = y_type,
                          .width = width,
                          .bias = x_type == y_type};
          SCOPED_TRACE(testing::Message()
                       << (layer_norm ? "LayerNorm " : "RMSNorm ") << NameOf(x_type) << " to "
                       << NameOf(y_type) << ", width " << width);
          const std::vector<float> x = RandomValues(size_t{3} * width, width, 2);
          ExpectNear(c, Run(c, x), Expected(c, x));
        }
      }
    }
  }
}

TEST_F(NormCudaTest, HasTheSameBitsWhereverRowsLie) {
  for (const int width : {8, 576, 2056}) {
    for (const DeviceFloat type : kDeviceFloats) {
      const Case c = {.layer_norm = true, .x_type = type, .width = width, .bias = true};
      const std::vector<float> x = RandomValues(size_t{3} * width, 5), y = Run(c, x);
      Case apart = c, unaligned = c;
      apart.gap = 3;
      unaligned.unaligned = 1;
      EXPECT_EQ(Run(apart, x), y) << width;
      EXPECT_EQ(Run(unaligned, x), y) << width;
      for (int row = 0; row < 3; ++row) {
        const auto first = x.begin() + row * width;
        const auto alone = Run(c, std::vector<float>(first, first + width));
        EXPECT_EQ(alone,
                  std::vector<float>(y.begin() + row * width, y.begin() + (row + 1) * width));
      }
    }
  }
}

TEST_F(NormCudaTest, PicksRowsAndZeroesPadding) {
  for (const int width : {33, 128}) {
    Case c = {.width = width, .bias = true};
    const std::vector<float> x = RandomValues(size_t{4} * width, 5), all = Run(c, x);
    c.rows = {2, -1, 2, 0};
    const std::vector<float> picked = Run(c, x);
    for (int i = 0; i < 4 * width; ++i) {
      const int row = c.rows[i / width];
      EXPECT_EQ(picked[i], row < 0 ? 0 : all[row * width + i % width]) << i;
    }
  }
}

TEST_F(NormCudaTest, WorksInPlace) {
  for (const int width : {33, 576, 2056}) {
    for (const DeviceFloat type : kDeviceFloats) {
      const Case c = {.layer_norm = true, .x_type = type, .y_type = type, .width = width};
      const std::vector<float> x = RandomValues(size_t{2} * width, 5);
      const DeviceFloats values(type, x);
      const DeviceArray<float> weight(Weight(c));
      ASSERT_EQ(Norm({.layer_norm = true,
                      .x = values.data(),
                      .x_type = type,
                      .x_stride = size_t(width),
                      .weight = weight.data(),
                      .y = values.data(),
                      .y_type = type,
                      .y_stride = size_t(width),
                      .epsilon = kEpsilon,
                      .count = 2,
                      .width = width},
                     stream_),
                cudaSuccess);
      EXPECT_EQ(values.Read(), Run(c, x)) << width;
    }
  }
}

TEST_F(NormCudaTest, SpreadsANanOverItsRowOnly) {
  for (const int width : {33, 128}) {
    const Case c = {.width = width};
    std::vector<float> x = RandomValues(size_t{3} * width, 5);
    x[2 * width - 1] = kNan;
    const std::vector<float> y = Run(c, x);
    for (int i = 0; i < 3 * width; ++i) EXPECT_EQ(std::isnan(y[i]), i / width == 1) << i;
  }
}

TEST_F(NormCudaTest, DoesNothingForNoRows) {
  EXPECT_EQ(Norm({.width = 33}, stream_), cudaSuccess);
  EXPECT_THAT(Run({.width = 8}, std::vector<float>(8)), Each(0));  // and no division by zero
}

TEST_F(NormCudaTest, ReadsRowsOnce) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  const int width = 2048;
  standin::ResetCounters();
  Run({.width = width}, RandomValues(size_t{4} * width, 5));
  const standin::KernelCounters counters = standin::Counters("NormKernel");
  EXPECT_EQ(counters.launches, 1);
  EXPECT_EQ(counters.load_bytes, size_t{4} * 2 * width * sizeof(float));  // with the weight
  EXPECT_EQ(counters.load_requests, counters.load_bytes / 16 / 32);       // 16 bytes a lane
  EXPECT_EQ(counters.bank_conflicts, 0);
  ExpectInstructions("NormKernel", 6'176);
}

}  // namespace
}  // namespace peerage::kernels::cuda
