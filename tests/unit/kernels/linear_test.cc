#include "model/kernels/linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "model/kernels/kernel_target.h"
#include "model/kernels/stored_block.h"
#include "model/kernels/thread_pool.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr int kMostTokens = 257;
constexpr int kBatches[] = {1, 2, 3, 5, 7, 8, 9, 16, 31, 33, 64, kMostTokens};

struct Shape {
  WeightFormat format;
  int outputs;
  int depth;
};

std::string Describe(const Shape& shape) {
  return std::string(Traits(StoredType(shape.format)).name) + " " + std::to_string(shape.outputs) +
         " x " + std::to_string(shape.depth);
}

constexpr Shape kShapes[] = {
    {WeightFormat::kQ4_1, 97, 576}, {WeightFormat::kQ4_1, 64, 1536}, {WeightFormat::kQ4_1, 1, 32},
    {WeightFormat::kQ4_1, 31, 96},  {WeightFormat::kQ8_0, 97, 576},  {WeightFormat::kQ8_0, 33, 32},
    {WeightFormat::kQ8_0, 1, 64},   {WeightFormat::kF32, 97, 257},   {WeightFormat::kF32, 1, 1},
    {WeightFormat::kF32, 31, 33},   {WeightFormat::kF32, 160, 3},    {WeightFormat::kF32, 33, 576},
    {WeightFormat::kBF16, 97, 257}, {WeightFormat::kBF16, 1, 1},     {WeightFormat::kBF16, 31, 33},
    {WeightFormat::kBF16, 160, 3},  {WeightFormat::kBF16, 33, 576},
};

// A random matrix, packed, and its rows as they are stored.
struct Matrix {
  std::vector<uint8_t> rows;
  hwy::AlignedFreeUniquePtr<uint8_t[]> tiles;
  PackedMatrix packed;
};

// Any quants, with scales of either sign; those of output 0 are the extreme ones.
void FillBlocks(const Shape& shape, std::mt19937& random, std::vector<uint8_t>& rows) {
  const size_t block_bytes = StoredRowBytes(shape.format, kBlock);
  for (size_t block = 0; block < rows.size(); block += block_bytes) {
    const bool extreme = block < rows.size() / shape.outputs;
    const uint8_t extreme_quant = shape.format == WeightFormat::kQ4_1 ? 0xff : 0x80;
    for (size_t i = 0; i < block_bytes; ++i) {
      rows[block + i] = extreme ? extreme_quant : static_cast<uint8_t>(random());
    }
    for (int i = 0; i < (shape.format == WeightFormat::kQ4_1 ? 4 : 2); i += 2) {
      const auto f16 = static_cast<uint16_t>((random() & 0x83ff) | 0x2000);  // +-2^-7 to 2^-6
      std::memcpy(&rows[block + i], &f16, 2);
    }
  }
}

Matrix MakeMatrix(const Shape& shape) {
  std::mt19937 random(shape.outputs * 10'007 + shape.depth);
  std::normal_distribution<float> gauss;
  Matrix m;
  const size_t row_bytes = StoredRowBytes(shape.format, shape.depth);
  m.rows.resize(shape.outputs * row_bytes);
  if (IsQuantized(shape.format)) {
    FillBlocks(shape, random, m.rows);
  } else {
    std::vector<float> values(static_cast<size_t>(shape.outputs) * shape.depth);
    for (float& v : values) v = gauss(random);
    QuantizeRow(shape.format, values.data(), values.size(), m.rows.data());
  }
  m.packed = {shape.format, shape.outputs, shape.depth, nullptr};
  m.tiles = hwy::AllocateAligned<uint8_t>(m.packed.Bytes());
  std::memset(m.tiles.get(), 0, m.packed.Bytes());
  const int first_rows = shape.outputs / 3;  // in two calls, as a loader does
  Pack({m.packed, 0, first_rows, m.rows.data()}, m.tiles.get());
  Pack({m.packed, first_rows, shape.outputs - first_rows, &m.rows[first_rows * row_bytes]},
       m.tiles.get());
  m.packed.tiles = m.tiles.get();
  return m;
}

std::vector<float> MakeActivations(int depth) {
  std::mt19937 random(7);
  std::normal_distribution<float> gauss;
  std::vector<float> x(static_cast<size_t>(kMostTokens) * depth);
  for (float& v : x) v = gauss(random);
  std::fill_n(x.begin(), depth, 0.0f);
  std::fill_n(x.begin() + depth, depth, -1e4f);  // the largest integer sums there are
  return x;
}

// y [tokens][stride] with values around the outputs that nobody may touch.
struct Output {
  static constexpr int kMargin = 5;
  static constexpr float kCanary = -12345.5f;

  Output(int tokens, int outputs, float initial) : outputs(outputs), stride(outputs + kMargin) {
    values.assign(kMargin + tokens * stride, kCanary);
    for (int t = 0; t < tokens; ++t) std::fill_n(row(t), outputs, initial);
  }
  float* row(int t) { return values.data() + kMargin + t * stride; }
  bool CanariesLive(int tokens) {
    bool live = std::count(values.begin(), values.begin() + kMargin, kCanary) == kMargin;
    for (int t = 0; t < tokens; ++t) {
      live = live && std::count(row(t) + outputs, row(t) + stride, kCanary) == kMargin;
    }
    return live;
  }

  int outputs;
  size_t stride;
  std::vector<float> values;
};

struct Batch {
  int tokens = kMostTokens;
  ThreadPool* pool = nullptr;
  Epilogue epilogue = Epilogue::kStore;
  float initial = 0;
};

Output Multiply(const Matrix& m, const std::vector<float>& x, const Batch& batch) {
  const size_t depth = m.packed.depth;
  std::vector<uint8_t> panels(PanelBytes(m.packed.format, m.packed.depth, batch.tokens));
  if (IsQuantized(m.packed.format)) {
    const QuantizeArgs quantize{x.data(), depth, batch.tokens, m.packed.depth, panels.data()};
    batch.pool->For(batch.tokens, 2,
                    [&](int64_t begin, int64_t end, int) { Quantize(quantize, begin, end); });
  }
  Output y(batch.tokens, m.packed.outputs, batch.initial);
  const LinearArgs args{.weights = m.packed,
                        .x = x.data(),
                        .x_stride = depth,
                        .panels = panels.data(),
                        .tokens = batch.tokens,
                        .y = y.row(0),
                        .y_stride = y.stride,
                        .epilogue = batch.epilogue};
  batch.pool->For(m.packed.num_tiles(), 1,
                  [&](int64_t begin, int64_t end, int) { Linear(args, begin, end); });
  return y;
}

// What the specification says, token by token.
std::vector<float> Reference(const Matrix& m, const std::vector<float>& x) {
  const size_t depth = m.packed.depth;
  std::vector<uint8_t> panels(PanelBytes(m.packed.format, m.packed.depth, kMostTokens));
  if (IsQuantized(m.packed.format)) {
    QuantizeReference({x.data(), depth, kMostTokens, m.packed.depth, panels.data()}, 0,
                      kMostTokens);
  }
  LinearArgs args;
  args.weights = m.packed;
  args.x = x.data();
  args.x_stride = depth;
  args.panels = panels.data();
  args.tokens = kMostTokens;
  std::vector<float> y;
  for (int t = 0; t < kMostTokens; ++t) {
    for (int n = 0; n < m.packed.outputs; ++n) y.push_back(LinearReference(args, t, n));
  }
  return y;
}

std::vector<float> DequantizedRows(const Matrix& m) {
  const size_t depth = m.packed.depth;
  const size_t row_bytes = StoredRowBytes(m.packed.format, depth);
  std::vector<float> rows(m.packed.outputs * depth);
  for (int n = 0; n < m.packed.outputs; ++n) {
    DequantizeRow(StoredType(m.packed.format), &m.rows[n * row_bytes], depth, &rows[n * depth]);
  }
  return rows;
}

class LinearTest : public ::testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest, ::testing::ValuesIn(kShapes), [](const auto& info) {
  std::string name = Describe(info.param);
  std::erase(name, ' ');
  return name;
});

TEST_P(LinearTest, GivesTheSameBitsForEveryBatchThreadCountAndInstructionSet) {
  const Matrix m = MakeMatrix(GetParam());
  const std::vector<float> x = MakeActivations(m.packed.depth);
  ThreadPool one(1), two(2), three(3);
  Output expected = [&] {
    const ScopedKernelTarget portable(kPortableTarget);
    return Multiply(m, x, {.pool = &one});
  }();

  for (const int64_t target : KernelTargets()) {
    const ScopedKernelTarget scoped(target);
    ASSERT_EQ(KernelTarget(), std::string_view(hwy::TargetName(target)));
    for (const int tokens : kBatches) {
      if (target == kPortableTarget && tokens > 9) continue;  // slow
      for (ThreadPool* pool : {&one, &two, &three}) {
        Output y = Multiply(m, x, {.tokens = tokens, .pool = pool});
        ASSERT_EQ(std::memcmp(y.values.data(), expected.values.data(), y.values.size() * 4), 0)
            << KernelTarget() << ", " << tokens << " tokens, " << pool->threads() << " threads";
        ASSERT_TRUE(y.CanariesLive(tokens));
      }
    }
  }
}

// Quantised: to the bit. f32 and bf16: a chain of n fused multiply-adds is within n 2^-24 of the
// sum of magnitudes (Higham 2002, section 3.1).
TEST_P(LinearTest, AgreesWithTheReference) {
  const Matrix m = MakeMatrix(GetParam());
  const int depth = m.packed.depth;
  const std::vector<float> x = MakeActivations(depth);
  const std::vector<float> weights = DequantizedRows(m);
  const std::vector<float> expected = Reference(m, x);
  ThreadPool pool(1);
  Output y = Multiply(m, x, {.pool = &pool});

  for (int t = 0; t < kMostTokens; ++t) {
    for (int n = 0; n < m.packed.outputs; ++n) {
      double magnitudes = 0;
      for (int k = 0; k < depth; ++k) {
        magnitudes += std::abs(double{x[t * depth + k]} * weights[n * depth + k]);
      }
      const double tolerance =
          IsQuantized(m.packed.format) ? 0 : (depth + 1) * magnitudes * 0x1p-24;
      ASSERT_NEAR(y.row(t)[n], expected[t * m.packed.outputs + n], tolerance)
          << "token " << t << ", output " << n;
    }
  }
}

// Rounding activations to int8 costs about half a percent of the result's norm.
TEST_P(LinearTest, IsCloseToTheProductWithDequantisedRows) {
  const Matrix m = MakeMatrix(GetParam());
  const int depth = m.packed.depth;
  const std::vector<float> x = MakeActivations(depth);
  const std::vector<float> weights = DequantizedRows(m);
  ThreadPool pool(1);
  Output y = Multiply(m, x, {.pool = &pool});

  double error = 0, norm = 0;
  for (int t = 2; t < kMostTokens; ++t) {
    for (int n = 0; n < m.packed.outputs; ++n) {
      double exact = 0;
      for (int k = 0; k < depth; ++k) exact += double{x[t * depth + k]} * weights[n * depth + k];
      error += (y.row(t)[n] - exact) * (y.row(t)[n] - exact);
      norm += exact * exact;
    }
  }
  EXPECT_LT(std::sqrt(error / norm), IsQuantized(m.packed.format) ? 1e-2 : 1e-6);
}

TEST_P(LinearTest, AddsTheFinishedResultToY) {
  const Matrix m = MakeMatrix(GetParam());
  const std::vector<float> x = MakeActivations(m.packed.depth);
  ThreadPool pool(2);
  for (const int64_t target : KernelTargets()) {
    const ScopedKernelTarget scoped(target);
    for (const int tokens : {1, 2, 9}) {
      Output result = Multiply(m, x, {.tokens = tokens, .pool = &pool});
      Output sum = Multiply(
          m, x, {.tokens = tokens, .pool = &pool, .epilogue = Epilogue::kAdd, .initial = 0.7f});

      for (int t = 0; t < tokens; ++t) {
        for (int n = 0; n < m.packed.outputs; ++n) {
          ASSERT_EQ(sum.row(t)[n], 0.7f + result.row(t)[n]) << KernelTarget();
        }
      }
      ASSERT_TRUE(sum.CanariesLive(tokens));
    }
  }
}

TEST_P(LinearTest, UnpacksTheRowsThatWerePacked) {
  const Matrix m = MakeMatrix(GetParam());
  const std::vector<float> expected = DequantizedRows(m);
  std::vector<float> row(m.packed.depth);

  for (int n = 0; n < m.packed.outputs; ++n) {
    UnpackRow(m.packed, n, row.data());
    ASSERT_EQ(std::memcmp(row.data(), &expected[n * row.size()], row.size() * 4), 0) << "row " << n;
  }
}

TEST_P(LinearTest, DoesNothingForZeroTokens) {
  const Matrix m = MakeMatrix(GetParam());
  const std::vector<float> x = MakeActivations(m.packed.depth);
  ThreadPool pool(2);

  Output y = Multiply(m, x, {.tokens = 0, .pool = &pool});

  EXPECT_TRUE(y.CanariesLive(0));
  EXPECT_EQ(PanelBytes(m.packed.format, m.packed.depth, 0), 0u);
}

TEST_P(LinearTest, KeepsANaNInItsToken) {
  const Matrix m = MakeMatrix(GetParam());
  std::vector<float> x = MakeActivations(m.packed.depth);
  ThreadPool pool(1);
  for (const int64_t target : KernelTargets()) {
    const ScopedKernelTarget scoped(target);
    Output clean = Multiply(m, x, {.tokens = 9, .pool = &pool});
    std::vector<float> poisoned = x;
    poisoned[3 * m.packed.depth] = std::numeric_limits<float>::quiet_NaN();
    poisoned[5 * m.packed.depth] = -std::numeric_limits<float>::infinity();

    Output y = Multiply(m, poisoned, {.tokens = 9, .pool = &pool});

    for (int t = 0; t < 9; ++t) {
      for (int n = 0; n < m.packed.outputs; ++n) {
        if (t == 3 || t == 5) {
          ASSERT_FALSE(std::isfinite(y.row(t)[n])) << KernelTarget() << " token " << t;
        } else {
          ASSERT_EQ(y.row(t)[n], clean.row(t)[n]) << KernelTarget() << " token " << t;
        }
      }
    }
  }
}

TEST(QuantizeTest, WritesTheReferencesBytes) {
  constexpr int kDepth = 96, kTokens = 15;
  std::mt19937 random(3);
  std::normal_distribution<float> gauss;
  std::vector<float> x(kTokens * kDepth);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = std::ldexp(gauss(random), static_cast<int>(i / kBlock % 9) * 30 - 130);
  }
  x[40] = std::numeric_limits<float>::infinity();
  x[200] = std::numeric_limits<float>::quiet_NaN();
  std::vector<uint8_t> expected(PanelBytes(WeightFormat::kQ8_0, kDepth, kTokens));
  QuantizeReference({x.data(), kDepth, kTokens, kDepth, expected.data()}, 0, kTokens);

  for (const int64_t target : KernelTargets()) {
    const ScopedKernelTarget scoped(target);
    std::vector<uint8_t> panels(expected.size());
    Quantize({x.data(), kDepth, kTokens, kDepth, panels.data()}, 0, kTokens);
    EXPECT_EQ(panels, expected) << KernelTarget();
  }
}

}  // namespace
}  // namespace peerage::kernels
