#include "model/kernels/gated_activation_cuda.h"

#include <gmock/gmock.h>

#include <cmath>
#include <vector>

#include "model/kernels/gated_activation.h"
#include "tests/cuda/kernels/device_floats.h"
#include "tests/cuda/kernels/instruction_budget.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr Activation kFunctions[] = {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                                     Activation::kRelu};
constexpr float kUntouched = -7;

class GatedActivationCudaTest : public CudaTest {
 protected:
  struct Case {
    Activation function = Activation::kSilu;
    DeviceFloat y_type = DeviceFloat::kF32;
    int width = 0;
    int rows_used = -1;  // -1: all, unsaid
    int unaligned = 0;
  };

  std::vector<float> Run(const Case& c, const std::vector<float>& gate_up) {
    const int rows = static_cast<int>(gate_up.size()) / c.width / 2;
    const DeviceFloats in(DeviceFloat::kF32, gate_up, c.unaligned);
    const DeviceFloats out(c.y_type, size_t(rows) * c.width, kUntouched);
    const DeviceArray<int32_t> rows_used(std::vector<int32_t>{c.rows_used});
    EXPECT_EQ(GatedActivation({.function = c.function,
                               .gate_up = reinterpret_cast<const float*>(in.data()),
                               .y = out.data(),
                               .y_type = c.y_type,
                               .rows_used = c.rows_used < 0 ? nullptr : rows_used.data(),
                               .rows = rows,
                               .width = c.width},
                              stream_),
              cudaSuccess);
    return out.Read();
  }
};

// Gates around zero, where functions bend, and far from it, where exponentials overflow.
std::vector<float> GatesAndUps(int rows, int width) {
  std::vector<float> values = RandomValues(size_t{2} * rows * width, width, 3);
  const float far[] = {-1000, 1000, -88.5f, 88.5f, -20, 20, 0, -0.0f};
  for (int i = 0; i < std::min(width, 8); ++i) values[i] = far[i];
  return values;
}

TEST_F(GatedActivationCudaTest, EqualsTheReference) {
  const int rows = 3;
  for (const int width : {1, 3, 8, 31, 33, 97, 128, 257, 576, 1032}) {
    const std::vector<float> gate_up = GatesAndUps(rows, width);
    for (const Activation function : kFunctions) {
      for (const DeviceFloat y_type : kDeviceFloats) {
        const std::vector<float> y = Run({function, y_type, width}, gate_up);
        ASSERT_EQ(y.size(), size_t(rows) * width);
        for (int i = 0; i < rows * width; ++i) {
          const float* gate = &gate_up[i / width * 2 * width + i % width];
          const double up = gate[width];
          const double expected = ActivationReference(function, *gate) * up;
          // Functions of f32 err by some units of the last place of the larger of gate and result.
          const double f32 = 0x1p-21 * std::max(1.0, std::abs(double{*gate})) * std::abs(up);
          EXPECT_NEAR(y[i], expected, f32 + RoundingOf(y_type) * std::abs(expected))
              << static_cast<int>(function) << " of " << *gate << ", width " << width;
        }
      }
    }
  }
}

TEST_F(GatedActivationCudaTest, SkipsRowsThatAreNotUsed) {
  for (const int width : {33, 128}) {
    const std::vector<float> gate_up = GatesAndUps(4, width);
    const std::vector<float> all = Run({.width = width}, gate_up);
    for (const int used : {0, 1, 3, 4}) {
      const std::vector<float> y = Run({.width = width, .rows_used = used}, gate_up);
      for (int i = 0; i < 4 * width; ++i) {
        EXPECT_EQ(y[i], i / width < used ? all[i] : kUntouched) << i;
      }
    }
  }
}

TEST_F(GatedActivationCudaTest, HasTheSameBitsWhereverRowsLie) {
  for (const Activation function : kFunctions) {
    const Case c = {.function = function, .y_type = DeviceFloat::kBF16, .width = 128};
    Case unaligned = c;
    unaligned.unaligned = 1;
    const std::vector<float> gate_up = GatesAndUps(3, 128);
    EXPECT_EQ(Run(unaligned, gate_up), Run(c, gate_up));
  }
}

TEST_F(GatedActivationCudaTest, KeepsANanWhereItIs) {
  for (const Activation function : kFunctions) {
    std::vector<float> gate_up = GatesAndUps(2, 33);
    gate_up[5] = kNan;           // a gate
    gate_up[4 * 33 - 1] = kNan;  // the last up
    const std::vector<float> y = Run({.function = function, .width = 33}, gate_up);
    for (int i = 0; i < 66; ++i) EXPECT_EQ(std::isnan(y[i]), i == 5 || i == 65) << i;
  }
}

TEST_F(GatedActivationCudaTest, StaysWithinItsInstructions) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  const std::vector<float> gate_up = GatesAndUps(4, 1024);
  standin::ResetCounters();
  Run({.y_type = DeviceFloat::kBF16, .width = 1024}, gate_up);
  ExpectInstructions("GatedActivationKernel", 2'624);
}

TEST_F(GatedActivationCudaTest, DoesNothingForNoRows) {
  EXPECT_EQ(GatedActivation({.width = 33}, stream_), cudaSuccess);
}

}  // namespace
}  // namespace peerage::kernels::cuda
