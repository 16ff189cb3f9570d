#include "model/kernels/linear_cuda.h"

#include <gmock/gmock.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/cuda/kernels/device_floats.h"
#include "tests/cuda/kernels/instruction_budget.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kSizes[] = {1, 8, 31, 33, 97, 128, 257, 576};
constexpr float kUntouched = -7;

struct Types {
  DeviceFloat w = DeviceFloat::kBF16, x = DeviceFloat::kBF16;
};
constexpr Types kTypes[] = {{DeviceFloat::kF32, DeviceFloat::kF32},
                            {DeviceFloat::kF32, DeviceFloat::kBF16},
                            {DeviceFloat::kBF16, DeviceFloat::kF32},
                            {DeviceFloat::kBF16, DeviceFloat::kBF16}};

std::string Describe(const LinearShape& shape, const Types& types) {
  return std::to_string(shape.outputs) + " x " + std::to_string(shape.depth) + ", " +
         NameOf(types.w) + " by " + NameOf(types.x);
}

// A matrix and rows for it, as they are on the device.
struct Values {
  Values(const LinearShape& shape, const Types& types, int rows, uint32_t seed = 1)
      : shape(shape),
        types(types),
        rows(rows),
        w(Rounded(types.w, RandomValues(size_t(shape.outputs) * shape.depth, seed))),
        x(Rounded(types.x, RandomValues(size_t(rows) * shape.depth, seed + 1))),
        bias(RandomValues(shape.outputs, seed + 2)),
        y(RandomValues(size_t(rows) * shape.outputs, seed + 3)) {}

  LinearShape shape;
  Types types;
  int rows;
  std::vector<float> w, x, bias;
  std::vector<float> y;  // to which results are added
};

struct How {
  bool bias = false, add = false;
  int gap = 0;        // elements between two rows of x and of y
  int unaligned = 0;  // of x
};

class LinearCudaTest : public CudaTest {
 protected:
  // Of the first `rows` rows; y without the gaps.
  std::vector<float> Run(const Values& v, int rows, const How& how = {}) {
    const int outputs = v.shape.outputs, depth = v.shape.depth;
    const size_t x_stride = depth + how.gap, y_stride = outputs + how.gap;
    const DeviceFloats w(v.types.w, v.w);
    const DeviceFloats x(v.types.x, Spread(v.x, rows, depth, how.gap, kNan), how.unaligned);
    const DeviceArray<float> y(how.add ? Spread(v.y, rows, outputs, how.gap, kUntouched)
                                       : std::vector<float>(rows * y_stride, kUntouched));
    const DeviceArray<float> bias(v.bias);
    const DeviceArray<float> scratch(LinearScratchFloats(v.shape, rows), kNan);
    EXPECT_EQ(Linear({.shape = v.shape,
                      .w = w.data(),
                      .w_type = v.types.w,
                      .x = x.data(),
                      .x_type = v.types.x,
                      .x_stride = x_stride,
                      .bias = how.bias ? bias.data() : nullptr,
                      .y = y.data(),
                      .y_stride = y_stride,
                      .add = how.add,
                      .rows = rows,
                      .scratch = scratch.data()},
                     stream_),
              cudaSuccess);
    return WithoutGaps(y.Read(), outputs, how.gap);
  }

  // Of matrices that lie one behind the other in v.w; those of groups without rows are null.
  std::vector<float> RunGrouped(const Values& v, const std::vector<int32_t>& first_row) {
    const int groups = static_cast<int>(first_row.size()) - 1;
    const LinearShape shape = {v.shape.outputs / groups, v.shape.depth};
    std::vector<DeviceFloats> matrices;
    std::vector<const void*> starts;
    const size_t size = size_t(shape.outputs) * shape.depth;
    for (int g = 0; g < groups; ++g) {
      const auto first = v.w.begin() + g * size;
      matrices.emplace_back(v.types.w, std::vector<float>(first, first + size));
      starts.push_back(first_row[g] < first_row[g + 1] ? matrices.back().data() : nullptr);
    }
    const DeviceArray<const void*> w(starts);
    const DeviceArray<int32_t> rows(first_row);
    const DeviceFloats x(v.types.x, v.x);
    const DeviceArray<float> y(size_t(v.rows) * shape.outputs, kUntouched);
    const DeviceArray<float> scratch(LinearScratchFloats(shape, v.rows), kNan);
    EXPECT_EQ(GroupedLinear({.shape = shape,
                             .w = w.data(),
                             .w_type = v.types.w,
                             .x = x.data(),
                             .x_type = v.types.x,
                             .x_stride = size_t(shape.depth),
                             .y = y.data(),
                             .y_stride = size_t(shape.outputs),
                             .first_row = rows.data(),
                             .groups = groups,
                             .max_rows = v.rows,
                             .scratch = scratch.data()},
                            stream_),
              cudaSuccess);
    return y.Read();
  }

  // In double; whatever the order of n sums in f32 and whether tensor cores round or cut off, an
  // output is within (n + 2) 2^-23 of the sum of its addends' sizes.
  static void ExpectNear(const Values& v, const How& how, const std::vector<float>& y) {
    const int outputs = v.shape.outputs, depth = v.shape.depth;
    for (size_t i = 0; i < y.size(); ++i) {
      const float* x = &v.x[i / outputs * depth];
      const float* w = &v.w[i % outputs * depth];
      double sum = 0, size = 0;
      const auto add = [&](double addend) { sum += addend, size += std::abs(addend); };
      for (int k = 0; k < depth; ++k) add(double{x[k]} * w[k]);
      if (how.bias) add(v.bias[i % outputs]);
      if (how.add) add(v.y[i]);
      ASSERT_NEAR(y[i], sum, (depth + 2) * 0x1p-23 * size)
          << "row " << i / outputs << ", output " << i % outputs;
    }
  }

 private:
  static std::vector<float> Spread(const std::vector<float>& values, int rows, int width, int gap,
                                   float between) {
    std::vector<float> spread(size_t(rows) * (width + gap), between);
    for (int i = 0; i < rows * width; ++i) {
      spread[size_t(i) / width * (width + gap) + i % width] = values[i];
    }
    return spread;
  }
  static std::vector<float> WithoutGaps(const std::vector<float>& y, int width, int gap) {
    std::vector<float> dense;
    for (size_t i = 0; i < y.size(); ++i) {
      if (static_cast<int>(i % (width + gap)) < width) {
        dense.push_back(y[i]);
      } else {
        EXPECT_EQ(y[i], kUntouched) << "between rows, at " << i;
      }
    }
    return dense;
  }
};

std::vector<float> FirstRows(const std::vector<float>& y, int rows, int width) {
  return std::vector<float>(y.begin(), y.begin() + size_t(rows) * width);
}

TEST_F(LinearCudaTest, EqualsTheReference) {
  for (const Types& types : kTypes) {
    for (const int outputs : kSizes) {
      for (const int depth : kSizes) {
        const LinearShape shape = {outputs, depth};
        SCOPED_TRACE(Describe(shape, types));
        const Values values(shape, types, 17);
        const How how = {.bias = outputs % 2 == 0, .add = depth % 2 == 0};
        ExpectNear(values, how, Run(values, 17, how));
      }
    }
  }
}

// The third is added up in parts while rows are few, the fourth's last part is shorter.
constexpr LinearShape kBatchShapes[] = {{97, 257}, {33, 128}, {72, 1024}, {128, 1288}, {8, 96}};

TEST_F(LinearCudaTest, GivesARowTheSameBitsInAnyBatch) {
  for (const Types& types : kTypes) {
    for (const LinearShape& shape : kBatchShapes) {
      SCOPED_TRACE(Describe(shape, types));
      const Values values(shape, types, 65);
      const How how = {.bias = true, .add = true};
      const std::vector<float> y = Run(values, 65, how);
      ExpectNear(values, how, y);
      for (const int rows : {0, 1, 3, 8, 16, 17, 33, 64}) {
        EXPECT_EQ(Run(values, rows, how), FirstRows(y, rows, shape.outputs)) << rows;
      }
    }
  }
}

// Blocks go on to other rows. With one stage of the depth, copies for those are soon there: nobody
// may read the stage any longer.
TEST_F(LinearCudaTest, TakesAnyNumberOfRows) {
  for (const Types& types : kTypes) {
    for (const LinearShape& shape : {LinearShape{33, 72}, {33, 64}}) {
      SCOPED_TRACE(Describe(shape, types));
      const Values values(shape, types, 1100);
      const std::vector<float> y = Run(values, 1100);
      ExpectNear(values, {}, y);
      EXPECT_EQ(Run(values, 64), FirstRows(y, 64, 33));
    }
  }
}

// What was planned for the most rows serves fewer, too.
TEST_F(LinearCudaTest, NeedsNoMoreScratchForFewerRows) {
  for (const LinearShape& shape :
       {LinearShape{2048, 2048}, {2048, 5632}, {11264, 2048}, {33, 97}}) {
    size_t before = 0;
    for (int rows = 0; rows < 200; ++rows) {
      const size_t floats = LinearScratchFloats(shape, rows);
      EXPECT_GE(floats, before) << rows;
      before = floats;
    }
    EXPECT_LE(before, size_t{64} * 264 * 64) << "some two blocks a processor, 64 rows and outputs";
  }
}

TEST_F(LinearCudaTest, TakesRowsAnywhere) {
  for (const Types& types : kTypes) {
    for (const LinearShape& shape : {LinearShape{33, 128}, {72, 1024}}) {
      SCOPED_TRACE(Describe(shape, types));
      const Values values(shape, types, 9);
      const How how = {.add = true, .gap = 8};  // whole pieces all the same
      EXPECT_EQ(Run(values, 9, how), Run(values, 9, {.add = true}));
      for (const How& odd : {How{.gap = 3}, How{.unaligned = 1}}) {
        ExpectNear(values, odd, Run(values, 9, odd));
      }
    }
  }
}

TEST_F(LinearCudaTest, KeepsANanInItsRow) {
  for (const Types& types : kTypes) {
    for (const LinearShape& shape : {LinearShape{33, 97}, {33, 128}, {72, 1024}}) {
      SCOPED_TRACE(Describe(shape, types));
      Values values(shape, types, 17);
      values.x[size_t(5) * shape.depth - 1] = kNan;
      const std::vector<float> y = Run(values, 17);
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_EQ(std::isnan(y[i]), i / shape.outputs == 4) << i;
      }
    }
  }
}

TEST_F(LinearCudaTest, SumsOfNothingAreZero) {
  const Values values({33, 0}, {}, 3);
  EXPECT_EQ(Run(values, 3), std::vector<float>(99, 0.0f));
}

TEST_F(LinearCudaTest, GroupsHaveTheBitsOfTheirMatrixAlone) {
  std::vector<int32_t> many(71, 5);  // of 70 groups the fourth and the 54th have rows
  std::fill_n(many.begin(), 4, 0);
  std::fill_n(many.begin() + 4, 50, 2);
  const std::vector<int32_t> groupings[] = {
      {0, 7}, {0, 0, 3, 3, 20, 21, 21}, {0, 0, 0}, many, {0, 66, 66, 70}};
  for (const Types& types : kTypes) {
    for (const LinearShape& shape : {LinearShape{33, 97}, {8, 128}, {72, 1024}}) {
      for (const std::vector<int32_t>& first_row : groupings) {
        const int groups = static_cast<int>(first_row.size()) - 1, last = first_row.back();
        if (groups > 10 && shape.outputs > 8) continue;  // large, and nothing new
        SCOPED_TRACE(testing::Message() << Describe(shape, types) << ", groups " << groups);
        const LinearShape all = {shape.outputs * groups, shape.depth};
        Values values(all, types, last + 2);
        std::fill(values.x.begin() + size_t(last) * shape.depth, values.x.end(), kNan);

        std::vector<float> expected;
        for (int g = 0; g < groups; ++g) {
          const int rows = first_row[g + 1] - first_row[g];
          Values own(shape, types, rows);
          const size_t size = size_t(shape.outputs) * shape.depth;
          own.w.assign(values.w.begin() + g * size, values.w.begin() + (g + 1) * size);
          own.x.assign(values.x.begin() + size_t(first_row[g]) * shape.depth,
                       values.x.begin() + size_t(first_row[g + 1]) * shape.depth);
          const std::vector<float> y = Run(own, rows);
          expected.insert(expected.end(), y.begin(), y.end());
        }
        expected.resize(size_t(values.rows) * shape.outputs, kUntouched);
        EXPECT_EQ(RunGrouped(values, first_row), expected);
      }
    }
  }
}

TEST_F(LinearCudaTest, CanBeCapturedIntoAGraph) {
  const Values values({72, 1024}, {}, 64);
  const DeviceFloats w(values.types.w, values.w), x(values.types.x, values.x);
  const DeviceArray<float> y(size_t{64} * 72, kUntouched);
  const DeviceArray<float> scratch(LinearScratchFloats(values.shape, 64), kNan);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaSuccess);
  ASSERT_EQ(Linear({.shape = values.shape,
                    .w = w.data(),
                    .x = x.data(),
                    .x_stride = 1024,
                    .y = y.data(),
                    .y_stride = 72,
                    .rows = 64,
                    .scratch = scratch.data()},
                   stream_),
            cudaSuccess);
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(y.Read(), std::vector<float>(y.size(), kUntouched));
  ASSERT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
  EXPECT_EQ(y.Read(), Run(values, 64));
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

// For whoever adds them up: the bits are Linear's. Where no second launch would be, there are none.
TEST_F(LinearCudaTest, LeavesPartsToOthers) {
  for (const LinearShape& shape : {LinearShape{72, 1024}, {128, 1288}, {97, 256}}) {
    for (const int rows : {1, 3, 17, 64, 65}) {
      SCOPED_TRACE(testing::Message() << Describe(shape, {}) << ", rows " << rows);
      const Values v(shape, {}, rows);
      const DeviceFloats w(v.types.w, v.w), x(v.types.x, v.x);
      const DeviceArray<float> y(v.y), bias(v.bias);
      const DeviceArray<float> scratch(LinearScratchFloats(shape, rows), kNan);
      const LinearArgs args = {.shape = shape,
                               .w = w.data(),
                               .x = x.data(),
                               .x_stride = size_t(shape.depth),
                               .bias = bias.data(),
                               .rows = rows,
                               .scratch = scratch.data()};
      const RowParts parts = PartsOf(args);
      ASSERT_EQ(parts.count > 0, shape.depth > 256 && rows < 65);
      if (parts.count == 0) continue;
      ASSERT_EQ(LinearInParts(args, stream_), cudaSuccess);
      ASSERT_EQ(AddRows({.x = y.data(), .count = rows, .width = shape.outputs}, parts, stream_),
                cudaSuccess);
      EXPECT_EQ(y.Read(), Run(v, rows, {.bias = true, .add = true}));
    }
  }
}

TEST_F(LinearCudaTest, DoesNothingForNoRowsOrGroups) {
  EXPECT_EQ(Linear({.shape = {33, 97}}, stream_), cudaSuccess);
  EXPECT_EQ(GroupedLinear({.shape = {33, 97}}, stream_), cudaSuccess);
}

class LinearCountersTest : public LinearCudaTest {
 protected:
  void SetUp() override {
    if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  }
  static constexpr char kKernel[] = "LinearOnTensorCoresKernel";
};

TEST_F(LinearCountersTest, ReadsWeightsOnceForUpTo64Rows) {
  const LinearShape shape = {192, 1024};
  for (const int rows : {1, 16, 17, 64}) {
    const Values values(shape, {}, rows);
    standin::ResetCounters();
    Run(values, rows);
    const standin::KernelCounters counters = standin::Counters(kKernel);
    const size_t row_bytes = shape.depth * 2;
    EXPECT_EQ(counters.load_bytes, row_bytes * (shape.outputs + shape.outputs / 64 * rows));
    EXPECT_EQ(counters.load_sectors * 32, counters.load_bytes) << "whole sectors";
    EXPECT_EQ(counters.bank_conflicts, 0);
    const uint64_t tile_rows = rows == 1 ? 8 : rows == 17 ? 32 : rows;
    EXPECT_EQ(counters.mma, shape.outputs / 16 * (shape.depth / 16) * (tile_rows / 8));
    EXPECT_EQ(counters.blocks, 3 * 4) << "four parts of the depth";
    EXPECT_EQ(standin::Counters("AddPartsKernel").launches, 1);
  }
}

TEST_F(LinearCountersTest, StaysWithinItsInstructions) {
  struct Budget {
    Types types;
    int rows;
    const char* kernel;
    uint64_t instructions;
  };
  const Types f32 = {DeviceFloat::kF32, DeviceFloat::kF32};
  for (const Budget& budget : {Budget{{}, 1, kKernel, 35'456},
                               {{}, 16, kKernel, 43'072},
                               {{}, 64, kKernel, 91'904},
                               {{}, 64, "AddPartsKernel", 35'840},
                               {f32, 1, "LinearOnCoresKernel", 22'848},
                               {f32, 4, "LinearOnCoresKernel", 60'288},
                               {f32, 64, "LinearOnCoresKernel", 953'344}}) {
    SCOPED_TRACE(budget.rows);
    const Values values({256, 1024}, budget.types, budget.rows);
    standin::ResetCounters();
    Run(values, budget.rows);
    ExpectInstructions(budget.kernel, budget.instructions);
  }
}

TEST_F(LinearCountersTest, WritesWholeSectors) {
  const Values values({192, 256}, {}, 64);
  standin::ResetCounters();
  Run(values, 64);
  EXPECT_EQ(standin::Counters(kKernel).store_sectors * 32, 192 * 64 * sizeof(float));
}

TEST_F(LinearCountersTest, ReadsNoWeightsOfGroupsWithoutRows) {
  const int groups = 16, outputs = 64, depth = 256, rows = 6;
  std::vector<int32_t> first_row(groups + 1, rows);  // groups 3 and 9 have 2 and 4 rows
  std::fill_n(first_row.begin(), 4, 0);
  std::fill_n(first_row.begin() + 4, 6, 2);
  const Values values({groups * outputs, depth}, {}, rows);
  standin::ResetCounters();
  RunGrouped(values, first_row);
  const standin::KernelCounters counters = standin::Counters(kKernel);
  const size_t needed = size_t(depth) * 2 * (2 * outputs + rows);
  // Every warp of 4 looks for its group: two numbers of a group, and where its matrix lies.
  const size_t first_rows = counters.blocks * 4 * 32 * (4 + 4 + 8);
  EXPECT_GE(counters.load_bytes, needed);
  EXPECT_LE(counters.load_bytes, needed + first_rows);
  EXPECT_EQ(counters.blocks, rows) << "as many groups as rows, at most";
}

}  // namespace
}  // namespace peerage::kernels::cuda
