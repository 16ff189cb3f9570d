// Attention on a device: both kernels, by the shapes that choose them.
#include "model/kernels/attention_cuda.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda/kernels/attention_steps.h"
#include "tests/cuda/support/device_array.h"
#include "tests/support/nan.h"

namespace peerage::kernels::cuda {
namespace {

constexpr DeviceFloat kF32 = DeviceFloat::kF32, kBF16 = DeviceFloat::kBF16;

AttentionShape Shape(int heads, int kv_heads, int head_dim) {
  return {heads, kv_heads, head_dim, 1 / std::sqrt(static_cast<float>(head_dim))};
}

const std::pair<AttentionShape, DeviceFloat> kCases[] = {
    {Shape(1, 1, 1), kF32},    {Shape(5, 5, 7), kF32},    {Shape(5, 5, 7), kBF16},
    {Shape(3, 1, 33), kBF16},  {Shape(9, 3, 64), kF32},   {Shape(2, 1, 97), kF32},
    {Shape(12, 1, 40), kF32},  {Shape(1, 1, 256), kF32},  {Shape(3, 1, 255), kBF16},
    {Shape(4, 2, 36), kBF16},  {Shape(9, 3, 32), kBF16},  {Shape(8, 2, 64), kBF16},
    {Shape(3, 3, 80), kBF16},  {Shape(12, 1, 64), kBF16}, {Shape(2, 1, 96), kBF16},
    {Shape(4, 1, 128), kBF16}, {Shape(2, 2, 256), kBF16}, {Shape(20, 1, 32), kBF16},
};

class AttentionCudaTest : public CudaTest {
 protected:
  // At and around borders of blocks and splits.
  static constexpr int kPositions[] = {0, 1, 31, 32, 33, 127, 128, 129, 257};
  static std::vector<int> Lengths() {
    std::vector<int> lengths;
    for (const int position : kPositions) lengths.push_back(position + 1);
    return lengths;
  }

  static void ExpectRow(const AttentionSequences& sequences, int sequence, int position,
                        const float* actual) {
    const AttentionSequences::Expected expected = sequences.Expect(sequence, position);
    for (int i = 0; i < sequences.width(); ++i) {
      ASSERT_NEAR(actual[i], expected.values[i], expected.tolerance[i])
          << "position " << position << ", value " << i;
    }
  }

  static bool SameBits(const float* a, const float* b, size_t count) {
    return std::memcmp(a, b, count * sizeof(float)) == 0;
  }
  static std::vector<float> Piece(const std::vector<float>& rows, size_t first, size_t count) {
    return {rows.begin() + first, rows.begin() + first + count};
  }
};

TEST_F(AttentionCudaTest, DecodesAsTheReferenceDoes) {
  for (const auto& [shape, type] : kCases) {
    SCOPED_TRACE(Describe(shape, type));
    const AttentionSequences sequences(shape, type, Lengths());
    std::vector<StepChunk> chunks;
    for (int s = 0; s < 9; ++s) chunks.push_back({s, kPositions[s], 1});
    for (const bool split : {false, true}) {
      const std::vector<float> out = sequences.Run(chunks, stream_, {.split = split});
      for (int s = 0; s < 9; ++s) {
        ExpectRow(sequences, s, kPositions[s], &out[size_t(s) * sequences.width()]);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(AttentionCudaTest, FillsAsTheReferenceDoes) {
  for (const auto& [shape, type] : kCases) {
    SCOPED_TRACE(Describe(shape, type));
    const AttentionSequences sequences(shape, type, {150});
    const std::vector<float> out = sequences.Run({{0, 0, 150}}, stream_);
    for (const int position : {0, 1, 15, 16, 31, 32, 47, 63, 100, 127, 128, 149}) {
      ExpectRow(sequences, 0, position, &out[size_t(position) * sequences.width()]);
      if (HasFatalFailure()) return;
    }
  }
}

// Every row alone in its step, side by side with others, in items of any length, split or not.
TEST_F(AttentionCudaTest, GivesARowTheSameBitsInAnyStep) {
  for (const auto& [shape, type] : kCases) {
    SCOPED_TRACE(Describe(shape, type));
    const AttentionSequences sequences(shape, type, {141, 40});
    const int width = sequences.width(), first = 120;
    const std::vector<float> whole = sequences.Run({{0, first, 21}}, stream_);
    const auto expect_same = [&](const std::vector<float>& rows, int from) {
      EXPECT_TRUE(SameBits(rows.data(), &whole[size_t(from - first) * width], rows.size()));
    };
    for (const bool split : {false, true}) {
      SCOPED_TRACE(split ? "split" : "one after the other");
      const StepOptions options{.split = split};
      for (const int item_tokens : {1, 3, 16}) {
        SCOPED_TRACE(testing::Message() << "items of " << item_tokens);
        expect_same(sequences.Run({{0, first, 21, item_tokens}}, stream_, options), first);
      }
      for (const int position : {120, 127, 128, 140}) {
        expect_same(sequences.Run({{0, position, 1}}, stream_, options), position);
      }
      // Another sequence before it, of rows enough that other tiles are chosen, and padding.
      const std::vector<float> batch =
          sequences.Run({{1, 0, 40}, {-1}, {0, 125, 7}, {-1}}, stream_, options);
      expect_same(Piece(batch, size_t{41} * width, size_t{7} * width), 125);
    }
  }
}

TEST_F(AttentionCudaTest, LeavesPaddingAsItWas) {
  for (const auto& [shape, type] : {kCases[1], kCases[11]}) {
    const AttentionSequences sequences(shape, type, {20});
    const int width = sequences.width();
    for (const bool split : {false, true}) {
      const std::vector<float> out =
          sequences.Run({{-1}, {0, 3, 2}, {-1}, {-1}}, stream_, {.split = split});
      for (int i = 0; i < width; ++i) {
        EXPECT_EQ(out[i], AttentionSequences::kUntouched);
        EXPECT_EQ(out[3 * width + i], AttentionSequences::kUntouched);
        EXPECT_EQ(out[4 * width + i], AttentionSequences::kUntouched);
      }
      ExpectRow(sequences, 0, 4, &out[2 * width]);
    }
  }
  EXPECT_EQ(Attention({.shape = Shape(2, 1, 8)}, stream_), cudaSuccess) << "no items";
  EXPECT_EQ(Attention({.shape = Shape(2, 1, 257)}, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(Attention({.shape = Shape(3, 2, 8)}, stream_), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace peerage::kernels::cuda
