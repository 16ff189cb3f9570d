#include "tests/cuda/kernels/attention_steps.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "model/kernels/attention.h"
#include "tests/support/nan.h"
#include "tests/support/random_values.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kLayers = 2;  // blocks of another one lie between, NaN
constexpr int32_t kNoBlock = 1 << 24;

uint16_t Bf16Bits(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float FromBits(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

kernels::AttentionShape HostShape(const AttentionShape& shape) {
  return {shape.heads, shape.kv_heads, shape.head_dim, shape.scale};
}

std::vector<float> Rounded(const float* x, size_t count, bool to_bf16) {
  std::vector<float> y(x, x + count);
  if (to_bf16) std::transform(y.begin(), y.end(), y.begin(), RoundToBf16);
  return y;
}

float Largest(const std::vector<float>& x) {
  float most = 0;
  for (const float value : x) {
    if (std::isfinite(value)) most = std::max(most, std::abs(value));
  }
  return most;
}

std::vector<float> AsFloats(const DeviceArray<uint8_t>& array, DeviceFloat type) {
  const std::vector<uint8_t> bytes = array.Read();
  std::vector<float> values(bytes.size() / BytesOf(type));
  if (type == DeviceFloat::kF32) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, &bytes[2 * i], 2);
    values[i] = FromBits(bits);
  }
  return values;
}

std::vector<uint8_t> AsBytes(const std::vector<float>& values, DeviceFloat type) {
  std::vector<uint8_t> bytes(values.size() * BytesOf(type));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = Bf16Bits(values[i]);
    if (type == DeviceFloat::kF32) {
      std::memcpy(&bytes[4 * i], &values[i], 4);
    } else {
      std::memcpy(&bytes[2 * i], &bits, 2);
    }
  }
  return bytes;
}

}  // namespace

float RoundToBf16(float x) { return FromBits(Bf16Bits(x)); }

std::string Describe(const AttentionShape& shape, DeviceFloat type) {
  return std::to_string(shape.heads) + " heads, " + std::to_string(shape.kv_heads) +
         " KV heads of " + std::to_string(shape.head_dim) +
         (type == DeviceFloat::kF32 ? ", f32" : ", bf16");
}

AttentionSequences::AttentionSequences(const AttentionShape& shape, DeviceFloat type,
                                       std::vector<int> lengths)
    : shape_(shape), type_(type), lengths_(std::move(lengths)) {
  uint32_t seed = shape.heads * 1000 + shape.head_dim;
  for (const int length : lengths_) {
    q.push_back(RandomValues(size_t(length) * width(), ++seed));
    k.push_back(RandomValues(size_t(length) * kv_width(), ++seed));
    v.push_back(RandomValues(size_t(length) * kv_width(), ++seed));
    blocks_.emplace_back((length + kBlockTokens - 1) / kBlockTokens);
    num_blocks_ += static_cast<int>(blocks_.back().size());
    max_blocks_ = std::max(max_blocks_, static_cast<int>(blocks_.back().size()) + 1);
  }
  std::vector<int32_t> ids(num_blocks_);
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), std::mt19937(seed));
  auto next = ids.begin();
  for (std::vector<int32_t>& blocks : blocks_) {
    for (int32_t& block : blocks) block = *next++;
  }
  Store();
}

void AttentionSequences::Store() {
  const size_t stride = kLayers * KvBlockElements(shape_);
  const size_t plane = size_t(shape_.kv_heads) * kBlockTokens * shape_.head_dim;
  std::vector<float> cache(num_blocks_ * stride, kNan);
  for (size_t s = 0; s < lengths_.size(); ++s) {
    for (int t = 0; t < lengths_[s]; ++t) {
      float* block = &cache[blocks_[s][t / kBlockTokens] * stride];
      for (int head = 0; head < shape_.kv_heads; ++head) {
        float* at = block + size_t(head * kBlockTokens + t % kBlockTokens) * shape_.head_dim;
        const size_t from = size_t(t) * kv_width() + head * shape_.head_dim;
        std::copy_n(&k[s][from], shape_.head_dim, at);
        std::copy_n(&v[s][from], shape_.head_dim, at + plane);
      }
    }
  }
  cache_.clear();
  cache_.emplace_back(AsBytes(cache, type_));
}

AttentionSequences AttentionSequences::Copy() const {
  AttentionSequences copy(shape_, type_, lengths_);
  copy.q = q, copy.k = k, copy.v = v;
  copy.Store();
  return copy;
}

std::vector<float> AttentionSequences::Run(const std::vector<StepChunk>& chunks,
                                           cudaStream_t stream, const StepOptions& options) const {
  const size_t q_stride = width() + 2 * kv_width();
  std::vector<float> queries;
  std::vector<AttentionItem> items;
  int count = 0, longest = 0;
  for (const StepChunk& chunk : chunks) {
    for (int t = 0; t < chunk.tokens; ++t) {
      queries.resize(queries.size() + q_stride, kNan);
      if (chunk.sequence < 0) continue;
      const auto row = q[chunk.sequence].begin() + size_t(chunk.first + t) * width();
      std::copy_n(row, width(), queries.end() - q_stride);
      longest = std::max(longest, chunk.first + t + 1);
    }
    if (chunk.sequence < 0) items.push_back({count, 0, -1, 0});
    for (int t = 0; chunk.sequence >= 0 && t < chunk.tokens; t += chunk.item_tokens) {
      items.push_back({count + t, std::min(chunk.item_tokens, chunk.tokens - t), chunk.first + t,
                       chunk.sequence});
    }
    count += chunk.tokens;
  }
  std::vector<int32_t> table(lengths_.size() * max_blocks_, kNoBlock);
  for (size_t s = 0; s < blocks_.size(); ++s) {
    std::copy(blocks_[s].begin(), blocks_[s].end(), &table[s * max_blocks_]);
  }

  const int splits = options.split ? (longest + kSplitTokens - 1) / kSplitTokens + 1 : 0;
  const DeviceArray<float> device_q(queries), gates(options.gates);
  const DeviceArray<float> partials(AttentionPartialFloats(shape_, count, splits), kNan);
  const DeviceArray<int32_t> device_table(table);
  const DeviceArray<AttentionItem> device_items(items);
  const DeviceArray<uint8_t> out(
      AsBytes(std::vector<float>(size_t(count) * width(), kUntouched), options.out_type));
  EXPECT_EQ(Attention({.shape = shape_,
                       .q = device_q.data(),
                       .q_stride = q_stride,
                       .cache = {cache_[0].data(), type_, kLayers * KvBlockElements(shape_)},
                       .block_table = device_table.data(),
                       .max_blocks = max_blocks_,
                       .items = device_items.data(),
                       .num_items = static_cast<int>(items.size()),
                       .head_gates = options.gates.empty() ? nullptr : gates.data(),
                       .out = out.data(),
                       .out_type = options.out_type,
                       .splits = splits,
                       .count = count,
                       .partials = partials.data()},
                      stream),
            cudaSuccess);
  return AsFloats(out, options.out_type);
}

bool AttentionSequences::HasTiles() const {
  return type_ == DeviceFloat::kBF16 && shape_.head_dim % 16 == 0;
}

std::vector<float> AttentionSequences::Reference(int sequence, int position,
                                                 bool magnitudes) const {
  const kernels::AttentionShape shape = HostShape(shape_);
  const size_t stride = KvBlockFloats(shape);
  const int blocks = position / kBlockTokens + 1;
  std::vector<int32_t> table(blocks);
  std::iota(table.begin(), table.end(), 0);
  std::vector<float> cache(blocks * stride);
  const bool bf16 = type_ == DeviceFloat::kBF16;
  for (int t = 0; t <= position; ++t) {
    const auto keys = Rounded(&k[sequence][size_t(t) * kv_width()], kv_width(), bf16);
    auto values = Rounded(&v[sequence][size_t(t) * kv_width()], kv_width(), bf16);
    for (float& value : values) value = magnitudes ? std::abs(value) : value;
    StoreKv({shape, &cache[t / kBlockTokens * stride], t, keys.data(), values.data()});
  }
  const auto queries = Rounded(&q[sequence][size_t(position) * width()], width(), HasTiles());
  std::vector<float> out(width());
  for (int head = 0; head < shape_.kv_heads; ++head) {
    AttentionReference({.shape = shape,
                        .q = queries.data(),
                        .q_stride = size_t(width()),
                        .kv = cache.data(),
                        .block_stride = stride,
                        .out = out.data(),
                        .out_stride = size_t(width())},
                       {0, 1, position, head, table.data()});
  }
  return out;
}

// Rounding of a score, a sum of head_dim products, is an exponent: it is the relative error of a
// probability; the power, the factors and a sum over all positions add theirs. Tiles also round
// probabilities to bf16, which moves an average y of values v by up to 2^-8 sum p |v - y|.
AttentionSequences::Expected AttentionSequences::Expect(int sequence, int position) const {
  constexpr float kEpsilon = std::numeric_limits<float>::epsilon();
  const float products =
      shape_.head_dim * shape_.scale * Largest(q[sequence]) * Largest(k[sequence]) / 4;
  const float score = kEpsilon * std::sqrt(static_cast<float>(shape_.head_dim) + 2) * products;
  const float sums = 2 * score + kEpsilon * (8 + std::sqrt(static_cast<float>(position + 1)));
  Expected expected{Reference(sequence, position, false), Reference(sequence, position, true)};
  for (int i = 0; i < width(); ++i) {
    float& tolerance = expected.tolerance[i];
    const float rounding = HasTiles() ? 1.0f / 256 * (tolerance + std::abs(expected.values[i])) : 0;
    tolerance = sums * Largest(v[sequence]) + rounding;
  }
  return expected;
}

}  // namespace peerage::kernels::cuda
