// Attention on a device: both kernels, by the shapes that choose them.
#include "model/kernels/attention_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
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

// Odd widths and f32 on CUDA cores, then what tensor cores take.
const std::pair<AttentionShape, DeviceFloat> kCases[] = {
    {Shape(1, 1, 1), kF32},    {Shape(5, 5, 7), kF32},    {Shape(3, 1, 33), kBF16},
    {Shape(9, 3, 64), kF32},   {Shape(12, 1, 40), kF32},  {Shape(1, 1, 256), kF32},
    {Shape(3, 1, 255), kBF16}, {Shape(4, 2, 36), kBF16},

    {Shape(2, 1, 16), kBF16},  {Shape(9, 3, 32), kBF16},  {Shape(8, 2, 64), kBF16},
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
    const std::vector<float> out = sequences.Run(chunks, stream_);
    for (int s = 0; s < 9; ++s) {
      ExpectRow(sequences, s, kPositions[s], &out[size_t(s) * sequences.width()]);
      if (HasFatalFailure()) return;
    }
    const std::vector<float> split = sequences.Run(chunks, stream_, {.split = true});
    EXPECT_TRUE(SameBits(split.data(), out.data(), out.size()));
  }
}

TEST_F(AttentionCudaTest, FillsAsTheReferenceDoes) {
  for (const auto& [shape, type] : kCases) {
    SCOPED_TRACE(Describe(shape, type));
    const AttentionSequences sequences(shape, type, {140});
    const size_t width = sequences.width();
    const std::vector<float> out = sequences.Run({{0, 0, 40}, {0, 119, 21}}, stream_);
    for (const int position : {0, 1, 15, 16, 31, 32, 39, 119, 127, 128, 139}) {
      ExpectRow(sequences, 0, position, &out[(position < 40 ? position : position - 79) * width]);
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
      for (const int position : {127, 128}) {
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
  for (const auto& [shape, type] : {kCases[1], kCases[10]}) {
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

// A token that comes later, however broken, changes nothing: in one tile with it or not.
TEST_F(AttentionCudaTest, SeesNothingBehindItsOwnPosition) {
  for (const auto& [shape, type] : kCases) {
    SCOPED_TRACE(Describe(shape, type));
    AttentionSequences sequences(shape, type, {72});
    const std::vector<StepChunk> chunks = {{0, 24, 48}};
    const std::vector<float> clean = sequences.Run(chunks, stream_);
    for (const int broken : {31, 37, 65}) {
      std::fill_n(&sequences.k[0][size_t(broken) * sequences.kv_width()], sequences.kv_width(),
                  kNan);
      for (int i = 0; i < sequences.kv_width(); ++i) {
        sequences.v[0][size_t(broken) * sequences.kv_width() + i] = i % 2 == 0 ? kNan : INFINITY;
      }
    }
    sequences.Store();
    for (const bool split : {false, true}) {
      const std::vector<float> out = sequences.Run(chunks, stream_, {.split = split});
      const size_t width = sequences.width();
      EXPECT_TRUE(SameBits(out.data(), clean.data(), (31 - 24) * width));
      for (size_t i = (31 - 24) * width; i < out.size(); ++i) ASSERT_TRUE(std::isnan(out[i])) << i;
    }
  }
}

// Of a broken value, or query, or key: whole or chunked, NaN lies at the same places.
TEST_F(AttentionCudaTest, MakesNanOfNan) {
  for (const auto& [shape, type] : {std::pair{Shape(6, 2, 16), kBF16}, {Shape(6, 2, 20), kF32}}) {
    SCOPED_TRACE(Describe(shape, type));
    const int tokens = 60, first = 30, bad = 45, dim = shape.head_dim, width = 6 * dim;
    const AttentionSequences clean(shape, type, {tokens});
    const std::vector<float> before = clean.Run({{0, first, tokens - first}}, stream_);
    AttentionSequences bad_q = clean.Copy(), bad_k = clean.Copy(), bad_v = clean.Copy();
    bad_q.q[0][bad * width + dim] = kNan;        // head 1
    bad_k.k[0][bad * 2 * dim + dim + 3] = kNan;  // KV head 1
    bad_v.v[0][bad * 2 * dim + 5] = -INFINITY;   // KV head 0, column 5
    for (AttentionSequences* sequences : {&bad_q, &bad_k, &bad_v}) {
      sequences->Store();
      const auto is_broken = [&](int position, int head, int column) {
        if (sequences == &bad_q) return position == bad && head == 1;
        if (sequences == &bad_k) return position >= bad && head >= 3;
        return position >= bad && head < 3 && column == 5;
      };
      for (const int item_tokens : {1, 5, 16}) {
        const std::vector<float> out =
            sequences->Run({{0, first, tokens - first, item_tokens}}, stream_);
        for (size_t i = 0; i < out.size(); ++i) {
          const int position = first + i / width, head = i % width / dim, column = i % dim;
          ASSERT_EQ(std::isnan(out[i]), is_broken(position, head, column))
              << position << ", head " << head << ", " << column;
          ASSERT_TRUE(std::isnan(out[i]) || SameBits(&out[i], &before[i], 1)) << i;
        }
      }
    }
  }
}

TEST_F(AttentionCudaTest, MultipliesGatesAndSkipsZeros) {
  for (const auto& [shape, type] : {std::pair{Shape(12, 1, 64), kBF16}, {Shape(6, 2, 20), kF32}}) {
    SCOPED_TRACE(Describe(shape, type));
    const int tokens = 20;
    AttentionSequences sequences(shape, type, {tokens});
    const std::vector<float> plain = sequences.Run({{0, 0, tokens}}, stream_);
    StepOptions options;
    for (int i = 0; i < tokens * shape.heads; ++i) {
      options.gates.push_back(i % 3 == 0 ? 0 : i % 3 == 1 ? 0.5f : -2.0f);
    }
    // A row of zeros only, and a broken head behind a gate of zero.
    std::fill_n(&options.gates[7 * shape.heads], shape.heads, 0.0f);
    sequences.q[0][0] = kNan;
    for (const bool split : {false, true}) {
      options.split = split;
      const std::vector<float> out = sequences.Run({{0, 0, tokens, 5}}, stream_, options);
      for (size_t i = 0; i < out.size(); ++i) {
        const float gate = options.gates[i / shape.head_dim];
        // Powers of two: nothing is rounded.
        ASSERT_EQ(out[i], gate == 0 ? 0 : gate * plain[i]) << i;
      }
    }
  }
}

TEST_F(AttentionCudaTest, RoundsToTheTypeOfActivations) {
  for (const auto& [shape, type] : {std::pair{Shape(6, 2, 64), kBF16}, {Shape(5, 5, 7), kF32}}) {
    const AttentionSequences sequences(shape, type, {140});
    for (const bool split : {false, true}) {
      std::vector<float> expected = sequences.Run({{0, 100, 40}}, stream_, {.split = split});
      for (float& y : expected) y = RoundToBf16(y);
      EXPECT_EQ(sequences.Run({{0, 100, 40}}, stream_, {.split = split, .out_type = kBF16}),
                expected);
    }
  }
}

TEST_F(AttentionCudaTest, PicksTheOnlyTokenThatMattersWhenScoresAreFarApart) {
  for (const auto& [shape, type] : {std::pair{Shape(2, 1, 16), kBF16}, {Shape(2, 1, 8), kF32}}) {
    AttentionSequences sequences(shape, type, {300});
    std::fill(sequences.q[0].begin(), sequences.q[0].end(), 1.0f);
    const float large = RoundToBf16(1e30f);
    for (size_t i = 0; i < sequences.k[0].size(); ++i) {
      const float value = static_cast<int>(i) / shape.head_dim == 40 ? large : -large;
      sequences.k[0][i] = sequences.v[0][i] = value;
    }
    sequences.Store();
    for (const bool split : {false, true}) {
      for (const float y : sequences.Run({{0, 40, 260}}, stream_, {.split = split})) {
        ASSERT_EQ(y, large);
      }
    }
  }
}

// A score beyond f32 has no softmax: better a NaN, which is noticed, than a guess.
TEST_F(AttentionCudaTest, MakesNanOfScoresThatOverflow) {
  for (const auto& [shape, type] : {std::pair{Shape(1, 1, 16), kBF16}, {Shape(1, 1, 8), kF32}}) {
    for (const float sign : {1.0f, -1.0f}) {
      AttentionSequences sequences(shape, type, {1});
      std::fill(sequences.q[0].begin(), sequences.q[0].end(), sign * 1e30f);
      std::fill(sequences.k[0].begin(), sequences.k[0].end(), 1e30f);
      sequences.Store();
      for (const float y : sequences.Run({{0, 0, 1}}, stream_)) EXPECT_TRUE(std::isnan(y));
    }
  }
}

class AttentionCountersTest : public AttentionCudaTest {
 protected:
  void SetUp() override {
    if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  }
  static constexpr uint64_t SectorsOf(uint64_t bytes) { return bytes / 32; }
};

TEST_F(AttentionCountersTest, ReadsWholeSectorsOfTheCacheOnceAndMeetsInNoBank) {
  for (const AttentionShape& shape :
       {Shape(4, 1, 128), Shape(1, 1, 64), Shape(12, 1, 64), Shape(32, 1, 128), Shape(2, 1, 256)}) {
    for (const int tokens : {1, 4}) {
      SCOPED_TRACE(testing::Message() << Describe(shape, kBF16) << ", " << tokens << " tokens");
      const AttentionSequences sequences(shape, kBF16, {128});
      for (const bool split : {false, true}) {
        standin::ResetCounters();
        sequences.Run({{0, 128 - tokens, tokens}}, stream_, {.split = split});
        const standin::KernelCounters counters = standin::Counters("AttendTilesKernel");
        EXPECT_GT(counters.mma, 0);
        EXPECT_EQ(counters.bank_conflicts, 0);
        const uint64_t tiles = tokens * shape.heads > 64 ? 2 : 1;
        const uint64_t cache = tiles * SectorsOf(128 * 2 * shape.head_dim * 2);
        const uint64_t queries = SectorsOf(tokens * sequences.width() * 4);
        EXPECT_GE(counters.load_sectors, cache + queries);
        // Ids of blocks, the item and such: a few of each warp.
        EXPECT_LE(counters.load_sectors, cache + queries + 100 * tiles);
      }
    }
  }
}

TEST_F(AttentionCountersTest, ReadsNoCacheBehindClosedGates) {
  const AttentionShape shape = Shape(8, 2, 64);
  const AttentionSequences sequences(shape, kBF16, {128});
  StepOptions options{.gates = {0, 0, 0, 0, 0, 0, 0, 0}};
  for (options.split = false;; options.split = true) {
    standin::ResetCounters();
    for (const float y : sequences.Run({{0, 127, 1}}, stream_, options)) EXPECT_EQ(y, 0);
    EXPECT_LT(standin::Counters("AttendTilesKernel").load_sectors, 100);
    EXPECT_EQ(standin::Counters("AttendTilesKernel").mma, 0);
    if (options.split) break;
  }
}

TEST_F(AttentionCountersTest, LoadsFourFloatsAtOnceWithoutTensorCores) {
  const AttentionShape shape = Shape(2, 1, 128);
  const AttentionSequences sequences(shape, kF32, {128});
  standin::ResetCounters();
  sequences.Run({{0, 127, 1}}, stream_);
  const standin::KernelCounters counters = standin::Counters("AttendRowsKernel");
  const uint64_t bytes = 128 * 2 * shape.head_dim * 4;
  EXPECT_EQ(counters.bank_conflicts, 0);
  EXPECT_GE(counters.load_sectors, SectorsOf(bytes));
  EXPECT_LE(counters.load_sectors, SectorsOf(bytes) + 200);
  EXPECT_LE(counters.load_requests, bytes / 16 / 32 + 200);
}

}  // namespace
}  // namespace peerage::kernels::cuda
