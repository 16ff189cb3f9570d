#include "model/kernels/row_parts_cuda.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "model/kernels/norm_cuda.h"
#include "tests/cuda/kernels/device_floats.h"
#include "tests/cuda/kernels/instruction_budget.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kWidths[] = {1, 3, 8, 33, 97, 256, 257, 576, 2048, 2056, 4100};
constexpr float kEpsilon = 1e-5f;
constexpr float kUntouched = -7;

// Rows of x and what is added to them, [rows][parts][width].
struct Rows {
  int rows = 0, width = 0, parts = 0;
  std::vector<float> x, added;

  Rows(int rows, int width, int parts, uint32_t seed = 1)
      : rows(rows),
        width(width),
        parts(parts),
        x(RandomValues(size_t(rows) * width, seed, 2)),
        added(RandomValues(x.size() * parts, seed + 1)) {}

  std::vector<float> Bias() const { return RandomValues(width, 11); }
  std::vector<float> Weight() const { return RandomValues(width, 17); }
  float Part(int row, int part, int i) const {
    return added[(size_t(row) * parts + part) * width + i];
  }
  Rows Only(int row) const {
    Rows one = *this;
    one.rows = 1;
    const auto cut = [&](const std::vector<float>& all, size_t size) {
      return std::vector<float>(all.begin() + row * size, all.begin() + (row + 1) * size);
    };
    one.x = cut(x, width);
    one.added = cut(added, size_t(parts) * width);
    return one;
  }
  // As f32 adds it, in the order that is promised.
  std::vector<float> Sums(bool bias) const {
    std::vector<float> sums = x;
    for (size_t at = 0; at < sums.size(); ++at) {
      float sum = 0;
      for (int p = 0; p < parts; ++p) sum += Part(at / width, p, at % width);
      if (bias) sum += Bias()[at % width];
      sums[at] += sum;
    }
    return sums;
  }
};

// How parts lie: by row, as heads leave them, or by part, as a divided depth does.
struct How {
  bool by_part = false;
  bool bias = false;
  int unaligned = 0;
};

class RowPartsCudaTest : public CudaTest {
 protected:
  // The rows on the device.
  struct OnDevice {
    OnDevice(const Rows& r, const How& how)
        : rows(r),
          x(DeviceFloat::kF32, r.x, how.unaligned),
          parts(DeviceFloat::kF32, how.by_part ? ByPart(r) : r.added, how.unaligned),
          bias(r.Bias()) {
      const auto width = static_cast<size_t>(r.width);
      added = {.parts = reinterpret_cast<const float*>(parts.data()),
               .part_stride = how.by_part ? r.rows * width : width,
               .row_stride = how.by_part ? width : r.parts * width,
               .count = r.parts,
               .bias = how.bias ? bias.data() : nullptr};
    }
    static std::vector<float> ByPart(const Rows& r) {
      std::vector<float> parts;
      for (int p = 0; p < r.parts; ++p) {
        for (int row = 0; row < r.rows; ++row) {
          for (int i = 0; i < r.width; ++i) parts.push_back(r.Part(row, p, i));
        }
      }
      return parts;
    }
    float* data() const { return reinterpret_cast<float*>(x.data()); }

    const Rows& rows;
    DeviceFloats x, parts;
    DeviceArray<float> bias;
    RowParts added;
  };

  void Add(const OnDevice& on) {
    ASSERT_EQ(
        AddRows({.x = on.data(), .count = on.rows.rows, .width = on.rows.width}, on.added, stream_),
        cudaSuccess);
  }

  struct NormOf {
    bool layer_norm = false;
    DeviceFloat y_type = DeviceFloat::kF32;
    bool adds = true, stores = true;
    std::vector<int32_t> picked = {};
  };
  std::vector<float> Normalize(const OnDevice& on, const NormOf& norm) {
    const int width = on.rows.width;
    const int count = norm.picked.empty() ? on.rows.rows : static_cast<int>(norm.picked.size());
    const DeviceFloats y(norm.y_type, size_t(count) * width, kUntouched);
    const DeviceArray<float> weight(on.rows.Weight());
    const DeviceArray<int32_t> picked(norm.picked);
    EXPECT_EQ(NormOfSum({.layer_norm = norm.layer_norm,
                         .x = on.data(),
                         .x_stride = size_t(width),
                         .weight = weight.data(),
                         .rows = norm.picked.empty() ? nullptr : picked.data(),
                         .y = y.data(),
                         .y_type = norm.y_type,
                         .y_stride = size_t(width),
                         .sums = norm.stores ? on.data() : nullptr,
                         .epsilon = kEpsilon,
                         .count = count,
                         .width = width},
                        norm.adds ? on.added : RowParts(), stream_),
              cudaSuccess);
    return y.Read();
  }

  // In double. A sum of p parts is off by up to p + 1 roundings of the sizes added, which are some
  // 4 here; the norm's sums as in norm_cuda_test.
  static void ExpectNormOfSums(const Rows& r, const How& how, const NormOf& norm,
                               const std::vector<float>& y) {
    const std::vector<float> weight = r.Weight(), bias = r.Bias();
    for (int row = 0; row < r.rows; ++row) {
      std::vector<double> x(r.width);
      double mean = 0, square = 0;
      for (int i = 0; i < r.width; ++i) {
        x[i] = r.x[size_t(row) * r.width + i] + (how.bias ? bias[i] : 0.0);
        for (int p = 0; p < r.parts; ++p) x[i] += r.Part(row, p, i);
        mean += x[i] / r.width;
      }
      if (!norm.layer_norm) mean = 0;
      for (const double v : x) square += (v - mean) * (v - mean) / r.width;
      const double scale = 1 / std::sqrt(square + kEpsilon);
      const double f32 = 0x1p-24 * (8 + 2 * std::sqrt(r.width));
      for (int i = 0; i < r.width; ++i) {
        const double want = (x[i] - mean) * scale * weight[i];
        const double of_sums = 0x1p-24 * (r.parts + 2) * 4 * r.parts * scale * 4;
        EXPECT_NEAR(y[size_t(row) * r.width + i], want,
                    of_sums + f32 * (std::abs(want) + 4) + RoundingOf(norm.y_type) * std::abs(want))
            << "width " << r.width << ", row " << row << ", at " << i;
      }
    }
  }
};

TEST_F(RowPartsCudaTest, AddUpInOrder) {
  for (const int width : kWidths) {
    for (const int parts : {1, 2, 8, 9}) {
      for (const How& how : {How{}, How{.by_part = true, .bias = true}, How{.unaligned = 1}}) {
        const Rows rows(3, width, parts, width);
        const OnDevice on(rows, how);
        Add(on);
        EXPECT_EQ(on.x.Read(), rows.Sums(how.bias)) << width << ", " << parts;
      }
    }
  }
}

TEST_F(RowPartsCudaTest, NormsOfSumsEqualTheReference) {
  for (const int width : kWidths) {
    for (const bool layer_norm : {false, true}) {
      if (layer_norm && width == 1) continue;  // 0 / 0, but for epsilon
      for (const DeviceFloat y_type : kDeviceFloats) {
        const Rows rows(2, width, 3, width);
        const How how = {.by_part = layer_norm, .bias = width % 2 == 0};
        const NormOf norm = {.layer_norm = layer_norm, .y_type = y_type};
        ExpectNormOfSums(rows, how, norm, Normalize(OnDevice(rows, how), norm));
      }
    }
  }
}

// So that nothing depends on which of the two a step does.
TEST_F(RowPartsCudaTest, NormsOfSumsHaveTheBitsOfAddingFirst) {
  for (const int width : kWidths) {
    for (const int parts : {1, 8}) {
      for (const bool layer_norm : {false, true}) {
        for (const DeviceFloat y_type : kDeviceFloats) {
          const Rows rows(3, width, parts, width);
          const How how = {.by_part = parts == 8, .bias = layer_norm};
          const OnDevice first(rows, how), at_once(rows, how);
          Add(first);
          NormOf norm = {.layer_norm = layer_norm, .y_type = y_type, .adds = false};
          const std::vector<float> expected = Normalize(first, norm);
          norm.adds = true;
          EXPECT_EQ(Normalize(at_once, norm), expected) << width << ", " << parts;
          EXPECT_EQ(at_once.x.Read(), first.x.Read()) << width << ", " << parts;
        }
      }
    }
  }
}

TEST_F(RowPartsCudaTest, ARowHasTheSameBitsAloneAndWhereverItLies) {
  for (const int width : {8, 576, 2056, 4104}) {
    const Rows rows(4, width, 5);
    const How how = {.by_part = true, .bias = true};
    const NormOf norm = {.layer_norm = true, .y_type = DeviceFloat::kBF16};
    const std::vector<float> y = Normalize(OnDevice(rows, how), norm);
    EXPECT_EQ(Normalize(OnDevice(rows, {.bias = true, .unaligned = 1}), norm), y) << width;
    for (int row = 0; row < rows.rows; ++row) {
      const Rows alone = rows.Only(row);
      EXPECT_EQ(Normalize(OnDevice(alone, how), norm),
                std::vector<float>(y.begin() + row * width, y.begin() + (row + 1) * width))
          << width << ", row " << row;
    }
  }
}

TEST_F(RowPartsCudaTest, PickedRowsAreAddedUpOnTheWayAlone) {
  for (const int width : {33, 128, 4104}) {
    const Rows rows(4, width, 3);
    const OnDevice on(rows, {});
    NormOf norm = {.stores = false, .picked = {2, -1, 2, 0}};
    const std::vector<float> picked = Normalize(on, norm);
    EXPECT_EQ(on.x.Read(), rows.x) << "rows stay as they are";
    const std::vector<float> all = Normalize(on, {});
    for (int i = 0; i < 4 * width; ++i) {
      const int row = norm.picked[i / width];
      EXPECT_EQ(picked[i], row < 0 ? 0 : all[row * width + i % width]) << i;
    }
  }
}

TEST_F(RowPartsCudaTest, ANanStaysInItsRow) {
  for (const int width : {33, 2056}) {
    Rows rows(3, width, 2);
    rows.added[size_t(4) * width - 1] = kNan;  // the last of row 1
    const OnDevice on(rows, {});
    const std::vector<float> y = Normalize(on, {}), sums = on.x.Read();
    for (int i = 0; i < 3 * width; ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / width == 1) << i;
      EXPECT_EQ(std::isnan(sums[i]), i == 2 * width - 1) << i;
    }
  }
}

TEST_F(RowPartsCudaTest, NothingIsAddedWhereThereIsNothing) {
  EXPECT_EQ(AddRows({.width = 33}, RowParts{.count = 3}, stream_), cudaSuccess) << "no rows";
  EXPECT_EQ(AddRows({.count = 3, .width = 33}, RowParts(), stream_), cudaSuccess) << "no parts";
  const DeviceFloats bf16(DeviceFloat::kBF16, 8, 1);
  EXPECT_EQ(
      NormOfSum(
          {.x = bf16.data(), .x_type = DeviceFloat::kBF16, .x_stride = 8, .count = 1, .width = 8},
          RowParts{.count = 1}, stream_),
      cudaErrorInvalidValue)
      << "the residual stream is f32";
}

TEST_F(RowPartsCudaTest, NormsOfSumsReadEverythingOnce) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  constexpr size_t kRows = 4, kWidth = 2048, kParts = 8;
  const Rows rows(kRows, kWidth, kParts);
  const OnDevice on(rows, {});
  standin::ResetCounters();
  Normalize(on, {.y_type = DeviceFloat::kBF16});
  const standin::KernelCounters counters = standin::Counters("NormKernel");
  EXPECT_EQ(counters.launches, 1);
  const size_t read = kRows * kWidth * sizeof(float) * (kParts + 1 + 1);  // x, and the weight
  EXPECT_EQ(counters.load_bytes, read);
  EXPECT_EQ(counters.load_requests, read / 16 / 32);  // 16 bytes a lane
  EXPECT_EQ(counters.store_requests, kRows * kWidth * (4 + 2) / 16 / 32);
  EXPECT_EQ(counters.bank_conflicts, 0);
  ExpectInstructions("NormKernel", 11'712);
}

}  // namespace
}  // namespace peerage::kernels::cuda
