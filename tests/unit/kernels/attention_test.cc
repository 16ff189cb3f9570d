#include "model/kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/support/nan.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

// One sequence of `tokens` tokens; its cache is paged out of order and holds NaN wherever nothing
// was stored.
class Sequence {
 public:
  Sequence(const AttentionShape& shape, int tokens) : shape_(shape), tokens_(tokens) {
    std::mt19937 random(7 * tokens + shape.head_dim);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& x, int heads) {
      x.resize(size_t{1} * tokens * heads * shape.head_dim);
      for (float& value : x) value = normal(random);
    };
    fill(q, shape.heads);
    fill(k, shape.kv_heads);
    fill(v, shape.kv_heads);
    blocks_.resize(tokens / kBlockTokens + 3);
    std::iota(blocks_.begin(), blocks_.end(), 0);
    std::shuffle(blocks_.begin(), blocks_.end(), random);
  }

  using Kernel = void (*)(const AttentionArgs&, const AttentionItem&);

  // Output of the rows [first, tokens), in items of at most `chunk` rows.
  std::vector<float> Run(Kernel kernel, int chunk, int first = 0) const {
    const std::vector<float> cache = Cache();
    std::vector<float> out(q.size(), 0.0f);
    const size_t width = shape_.heads * shape_.head_dim;
    const AttentionArgs args{shape_, q.data(), width, cache.data(), Stride(), out.data(), width};
    for (int row = first; row < tokens_; row += chunk) {
      const int rows = std::min(chunk, tokens_ - row);
      for (int head = 0; head < shape_.kv_heads; ++head) {
        kernel(args, {row, rows, row, head, blocks_.data()});
      }
    }
    return out;
  }

  std::vector<float> q, k, v;  // [tokens][heads][head_dim]

 private:
  // As with two more layers: their blocks stay NaN and nobody may read them.
  size_t Stride() const { return 3 * KvBlockFloats(shape_); }

  std::vector<float> Cache() const {
    std::vector<float> cache(blocks_.size() * Stride(), kNan);
    const int width = shape_.kv_heads * shape_.head_dim;
    for (int t = 0; t < tokens_; ++t) {
      float* block = cache.data() + blocks_[t / kBlockTokens] * Stride();
      StoreKv({shape_, block, t, k.data() + t * width, v.data() + t * width});
    }
    return cache;
  }

  AttentionShape shape_;
  int tokens_;
  std::vector<int32_t> blocks_;
};

AttentionShape Shape(int heads, int kv_heads, int head_dim) {
  return {heads, kv_heads, head_dim, 1 / std::sqrt(static_cast<float>(head_dim))};
}

std::string Describe(const AttentionShape& shape, int tokens) {
  return std::to_string(shape.heads) + " heads, " + std::to_string(shape.kv_heads) +
         " KV heads of " + std::to_string(shape.head_dim) + ", " + std::to_string(tokens) +
         " tokens";
}

const AttentionShape kShapes[] = {
    Shape(1, 1, 1),  Shape(1, 1, 8),  Shape(5, 5, 7),   Shape(3, 1, 64),  Shape(9, 3, 64),
    Shape(8, 8, 16), Shape(8, 1, 80), Shape(32, 1, 32), Shape(2, 1, 128), Shape(4, 2, 256),
};

// Rounding of a score: head_dim products and sums of at most |q| |k|. It is an exponent, so it is
// the relative error of a probability; the exponential, the division and a sum over `tokens` add
// theirs; the error of an average of v is at most that times the largest v.
float Tolerance(const Sequence& s, const AttentionShape& shape, int tokens) {
  constexpr float kEpsilon = std::numeric_limits<float>::epsilon();
  const auto largest = [](const std::vector<float>& x) {
    float most = 0;
    for (const float value : x) most = std::max(most, std::abs(value));
    return most;
  };
  const float products = shape.head_dim * shape.scale * largest(s.q) * largest(s.k) / 4;
  const float score = kEpsilon * std::sqrt(static_cast<float>(shape.head_dim) + 2) * products;
  return (2 * score + kEpsilon * (8 + std::sqrt(static_cast<float>(tokens)))) * largest(s.v);
}

TEST(AttentionTest, MatchesTheReference) {
  for (const AttentionShape& shape : kShapes) {
    for (const int tokens : {1, 3, 31, 32, 33, 257}) {
      SCOPED_TRACE(Describe(shape, tokens));
      const Sequence sequence(shape, tokens);
      const std::vector<float> expected = sequence.Run(AttentionReference, kAttentionTokens);
      const float tolerance = Tolerance(sequence, shape, tokens);
      ForEachTarget([&] {
        const std::vector<float> actual = sequence.Run(Attention, kAttentionTokens);
        for (size_t i = 0; i < actual.size(); ++i) {
          ASSERT_NEAR(actual[i], expected[i], tolerance) << "at " << i;
        }
      });
    }
  }
}

TEST(AttentionTest, GivesTheSameBitsForEveryChunkingAndInstructionSet) {
  for (const AttentionShape& shape : kShapes) {
    const int tokens = 100;
    SCOPED_TRACE(Describe(shape, tokens));
    const Sequence sequence(shape, tokens);
    const std::vector<float> expected = sequence.Run(Attention, kAttentionTokens);
    ForEachVectorTarget([&] {
      for (int chunk = 1; chunk <= kAttentionTokens; ++chunk) {
        const std::vector<float> actual = sequence.Run(Attention, chunk);
        EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(float)), 0)
            << "chunks of " << chunk;
      }
    });
  }
}

// A token that comes later, however broken, changes nothing.
TEST(AttentionTest, SeesNothingBehindItsOwnPosition) {
  const AttentionShape shape = Shape(6, 2, 64);
  const int tokens = 40, width = shape.heads * shape.head_dim;
  const int kv_width = shape.kv_heads * shape.head_dim;
  const Sequence clean(shape, tokens);
  for (int broken = 1; broken < tokens; ++broken) {
    Sequence sequence = clean;
    std::fill_n(sequence.k.begin() + broken * kv_width, kv_width, kNan);
    std::fill_n(sequence.v.begin() + broken * kv_width, kv_width, INFINITY);
    ForEachTarget([&] {
      const std::vector<float> expected = clean.Run(Attention, kAttentionTokens);
      const std::vector<float> actual = sequence.Run(Attention, kAttentionTokens);
      EXPECT_EQ(std::memcmp(actual.data(), expected.data(), broken * width * sizeof(float)), 0)
          << "broken at " << broken;
    });
  }
}

TEST(AttentionTest, MakesNanOfNan) {
  const AttentionShape shape = Shape(6, 2, 16);
  const int tokens = 70, last = tokens - 1;
  const int width = shape.heads * shape.head_dim, kv_width = shape.kv_heads * shape.head_dim;
  const Sequence clean(shape, tokens);
  Sequence bad_q = clean, bad_k = clean, bad_v = clean;
  bad_q.q[last * width] = kNan;   // head 0
  bad_k.k[3 * kv_width] = kNan;   // KV head 0
  bad_v.v[35 * kv_width] = kNan;  // KV head 0, column 0
  ForEachTarget([&] {
    const float* q = nullptr;
    std::vector<float> out = bad_q.Run(Attention, kAttentionTokens);
    q = out.data() + last * width;
    for (int i = 0; i < width; ++i) EXPECT_EQ(std::isnan(q[i]), i < shape.head_dim) << i;

    out = bad_k.Run(Attention, kAttentionTokens);
    q = out.data() + last * width;
    for (int i = 0; i < width; ++i) EXPECT_EQ(std::isnan(q[i]), i < width / 2) << i;

    out = bad_v.Run(Attention, kAttentionTokens);
    q = out.data() + last * width;
    for (int i = 0; i < width; ++i) {
      EXPECT_EQ(std::isnan(q[i]), i < width / 2 && i % shape.head_dim == 0) << i;
    }
  });
}

TEST(AttentionTest, PicksTheOnlyTokenThatMattersWhenScoresAreFarApart) {
  const AttentionShape shape = Shape(2, 1, 8);
  const int tokens = 65;
  Sequence sequence(shape, tokens);
  std::fill(sequence.q.begin(), sequence.q.end(), 1.0f);
  for (int t = 0; t < tokens; ++t) {
    std::fill_n(sequence.k.begin() + t * 8, 8, t == 40 ? 1e30f : -1e30f);
    std::fill_n(sequence.v.begin() + t * 8, 8, t == 40 ? 1e30f : -1e30f);
  }
  ForEachTarget([&] {
    const std::vector<float> out = sequence.Run(Attention, kAttentionTokens, 40);
    for (size_t i = 40 * 16; i < out.size(); ++i) EXPECT_EQ(out[i], 1e30f) << i;
  });
}

// A score beyond f32 has no softmax: better a NaN, which is noticed, than a guess.
TEST(AttentionTest, MakesNanOfScoresThatOverflow) {
  const AttentionShape shape = Shape(1, 1, 8);
  Sequence sequence(shape, 1);
  std::fill(sequence.q.begin(), sequence.q.end(), 1e30f);
  std::fill(sequence.k.begin(), sequence.k.end(), 1e30f);
  ForEachVectorTarget([&] {
    for (const float x : sequence.Run(Attention, 1)) EXPECT_TRUE(std::isnan(x));
  });
}

TEST(AttentionTest, WritesItsOwnRowsAndHeadsOnly) {
  const AttentionShape shape = Shape(6, 2, 20);
  const size_t width = shape.heads * shape.head_dim, stride = width + 3;
  const std::vector<float> q(8 * stride, 1.0f), cache(2 * KvBlockFloats(shape), 1.0f);
  const std::vector<int32_t> blocks = {1};
  ForEachTarget([&] {
    std::vector<float> out(8 * stride, -7.0f);
    Attention({shape, q.data(), stride, cache.data(), KvBlockFloats(shape), out.data(), stride},
              {2, 3, 4, 1, blocks.data()});
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t row = i / stride, column = i % stride;
      const bool own = row >= 2 && row < 5 && column >= width / 2 && column < width;
      EXPECT_EQ(out[i], own ? 1.0f : -7.0f) << "row " << row << ", column " << column;
    }
  });
}

TEST(StoreKvTest, TransposesKeysAndKeepsValues) {
  const AttentionShape shape = Shape(4, 2, 3);
  std::vector<float> block(KvBlockFloats(shape), 0.0f);
  const std::vector<float> k = {1, 2, 3, 4, 5, 6}, v = {7, 8, 9, 10, 11, 12};

  StoreKv({shape, block.data(), 2 * kBlockTokens + 5, k.data(), v.data()});

  for (int head = 0; head < 2; ++head) {
    const float* keys = block.data() + head * 2 * 3 * kBlockTokens;
    const float* values = keys + 3 * kBlockTokens;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(keys[i * kBlockTokens + 5], k[head * 3 + i]);
      EXPECT_EQ(values[5 * 3 + i], v[head * 3 + i]);
    }
  }
  EXPECT_EQ(std::count(block.begin(), block.end(), 0.0f), KvBlockFloats(shape) - 12);
}

}  // namespace
}  // namespace peerage::kernels
