// Rotary positions, and the way into the KV cache.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "model/kernels/attention_cuda.h"
#include "model/kernels/rotary.h"
#include "tests/cuda/support/device_array.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr float kTheta = 10000;
constexpr int kLayers = 2;  // the cache of another one lies between blocks
constexpr int kBlocks = 5;
constexpr float kUntouched = -7;

struct Case {
  int heads, kv_heads, head_dim;
  bool interleaved = false;
  DeviceFloat type = DeviceFloat::kF32;
};

std::string Describe(const Case& c) {
  return std::to_string(c.heads) + " heads, " + std::to_string(c.kv_heads) + " KV heads of " +
         std::to_string(c.head_dim) + (c.interleaved ? ", interleaved" : "") +
         (c.type == DeviceFloat::kF32 ? ", f32" : ", bf16");
}

float AsFloat(float x) { return x; }
float AsFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

class RotaryCudaTest : public CudaTest {
 protected:
  // A padded token among others, at borders of blocks; no two at the same place.
  const std::vector<int32_t> positions_ = {0, 31, 32, -1, 65, 127};
  const std::vector<int32_t> blocks_ = {3, 3, 0, 1, 4, 2};

  static std::vector<float> Angles(int head_dim) {
    std::vector<float> angles(size_t{128} * head_dim);
    for (int p = 0; p < 128; ++p) {
      float* cos = angles.data() + size_t(p) * head_dim;
      RotaryAngles(p, kTheta, head_dim, cos, cos + head_dim / 2);
    }
    return angles;
  }

  // Rounds `expected`, then looks at every element of the cache.
  template <typename Element>
  void Check(const Case& c) {
    const AttentionShape shape{c.heads, c.kv_heads, c.head_dim, 1};
    const int width = (c.heads + 2 * c.kv_heads) * c.head_dim;
    const size_t stride = kLayers * KvBlockElements(shape);
    const std::vector<float> given = RandomValues(positions_.size() * width, c.head_dim + c.heads);
    const std::vector<float> angles = Angles(c.head_dim);
    const DeviceArray<float> qkv(given), device_angles(angles);
    const DeviceArray<Element> cache(
        std::vector<Element>(kBlocks * stride, static_cast<Element>(kUntouched)));
    const DeviceArray<int32_t> positions(positions_), blocks(blocks_);
    ASSERT_EQ(RotateAndStore({.shape = shape,
                              .interleaved = c.interleaved,
                              .angles = device_angles.data(),
                              .qkv = qkv.data(),
                              .cache = {cache.data(), c.type, stride},
                              .positions = positions.data(),
                              .blocks = blocks.data(),
                              .count = static_cast<int>(positions_.size())},
                             stream_),
              cudaSuccess);

    std::vector<float> turned = given;
    std::vector<float> stored(kBlocks * stride, AsFloat(static_cast<Element>(kUntouched)));
    for (size_t t = 0; t < positions_.size(); ++t) {
      if (positions_[t] >= 0) Expect(c, angles, t, &turned[t * width], stored);
    }
    const std::vector<float> q = qkv.Read();
    for (size_t t = 0; t < positions_.size(); ++t) {
      for (int i = 0; i < c.heads * c.head_dim; ++i) {
        // Two products and a sum of values of about 1, each rounded.
        ASSERT_NEAR(q[t * width + i], turned[t * width + i], 1e-6) << "token " << t << ", " << i;
      }
    }
    // bf16 keeps 8 bits.
    const float relative = c.type == DeviceFloat::kF32 ? 0 : 1.01f / 256;
    const std::vector<Element> actual = cache.Read();
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_NEAR(AsFloat(actual[i]), stored[i], 1e-6 + relative * std::abs(stored[i])) << i;
    }
  }

  // Turns a token's queries and keys in place, and stores its keys and values.
  void Expect(const Case& c, const std::vector<float>& angles, size_t t, float* x,
              std::vector<float>& cache) const {
    const float* cos = angles.data() + size_t(positions_[t]) * c.head_dim;
    RotateReference({.x = x,
                     .heads = c.heads + c.kv_heads,
                     .head_dim = c.head_dim,
                     .interleaved = c.interleaved,
                     .cos = cos,
                     .sin = cos + c.head_dim / 2});
    const size_t stride = cache.size() / kBlocks;
    for (int head = 0; head < 2 * c.kv_heads; ++head) {
      const int slot = head * kBlockTokens + positions_[t] % kBlockTokens;
      std::memcpy(&cache[blocks_[t] * stride + size_t(slot) * c.head_dim],
                  x + (c.heads + head) * c.head_dim, c.head_dim * sizeof(float));
    }
  }
};

TEST_F(RotaryCudaTest, TurnsAndStoresAsTheReferenceDoes) {
  for (const bool interleaved : {false, true}) {
    for (Case c : {Case{1, 1, 2}, Case{3, 1, 6}, Case{2, 1, 12}, Case{5, 5, 34}, Case{3, 1, 36},
                   Case{9, 3, 64}, Case{6, 2, 80}, Case{4, 1, 96}, Case{2, 1, 128}, Case{3, 3, 256},
                   Case{2, 2, 258 - 4}}) {
      c.interleaved = interleaved;
      for (const DeviceFloat type : {DeviceFloat::kF32, DeviceFloat::kBF16}) {
        c.type = type;
        SCOPED_TRACE(Describe(c));
        type == DeviceFloat::kF32 ? Check<float>(c) : Check<uint16_t>(c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(RotaryCudaTest, LoadsWholeSectorsAndLittleElse) {
  if (!standin::IsPresent()) GTEST_SKIP() << "counters are the stand-in's";
  standin::ResetCounters();
  Check<uint16_t>({8, 2, 128, false, DeviceFloat::kBF16});
  const standin::KernelCounters counters = standin::Counters("RotateAndStoreKernel");
  // Of 5 tokens: 12 heads read once, angles for 10 of them; queries are written as f32, keys and
  // values as bf16. What else is loaded are positions and block ids.
  const uint64_t values = 5 * (12 + 10) * 128 * 4 / 32;
  EXPECT_GE(counters.load_sectors, values);
  EXPECT_LE(counters.load_sectors, values + 150);
  // Of a warp: both halves of its head and of the angles, four by four, a position and a block; of
  // padding, a position.
  EXPECT_EQ(counters.load_requests, 5u * (12 * 4 + 10 * 2) + 12);
  EXPECT_EQ(counters.store_sectors, 5 * (8 * 128 * 4 + 4 * 128 * 2) / 32);
}

TEST_F(RotaryCudaTest, RefusesOddWidths) {
  EXPECT_EQ(RotateAndStore({.shape = {1, 1, 7, 1}, .count = 1}, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(RotateAndStore({.shape = {1, 1, 8, 1}, .count = 0}, stream_), cudaSuccess);
}

}  // namespace
}  // namespace peerage::kernels::cuda
