#include "model/kernels/stored_block.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/little_endian.h"
#include "model/kernels/float16.h"

namespace peerage::kernels {
namespace {

void StoreF16(float value, uint8_t* p) {
  const uint16_t bits = F16FromF32(value);
  std::memcpy(p, &bits, 2);
}

// Blocks of 32 with 4 or 5 bits a value: low nibbles are values 0..15, high nibbles 16..31.
struct NibbleBlock {
  const uint8_t* nibbles;
  uint32_t fifth_bits;  // bit j belongs to value j

  int operator[](int j) const {
    return (nibbles[j % 16] >> (j / 16 * 4) & 15) | (fifth_bits >> j & 1) << 4;
  }
};

void DequantizeNibbles(const NibbleBlock& q, float d, float m, float* out) {
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(q[j]) + m;
}

void DequantizeQ4_0(const uint8_t* p, float* out) {
  const float d = LoadF16(p);
  DequantizeNibbles({p + 2, 0}, d, -8 * d, out);
}

void DequantizeQ4_1(const uint8_t* p, float* out) {
  DequantizeNibbles({p + 4, 0}, LoadF16(p), LoadF16(p + 2), out);
}

void DequantizeQ5_0(const uint8_t* p, float* out) {
  const float d = LoadF16(p);
  DequantizeNibbles({p + 6, LoadLittleEndian<uint32_t>(p + 2)}, d, -16 * d, out);
}

void DequantizeQ5_1(const uint8_t* p, float* out) {
  DequantizeNibbles({p + 8, LoadLittleEndian<uint32_t>(p + 4)}, LoadF16(p), LoadF16(p + 2), out);
}

void DequantizeQ8_0(const uint8_t* p, float* out) {
  const float d = LoadF16(p);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<int8_t>(p[2 + j]);
}

// 256 values in two halves of 128: u8 low[2][64], u8 high[2][32], i8 scales[2][8], f16 d. Value
// 32 * quarter + l of a half takes its low 4 bits from a nibble of low[32 * (quarter % 2) + l], its
// high 2 bits from high[l], and scale 2 * quarter + l / 16.
void DequantizeQ6_K(const uint8_t* p, float* out) {
  const float d = LoadF16(p + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = p + 64 * half;
    const uint8_t* high = p + 128 + 32 * half;
    const uint8_t* scales = p + 192 + 8 * half;
    for (int quarter = 0; quarter < 4; ++quarter) {
      for (int l = 0; l < 32; ++l) {
        const int low_bits = low[32 * (quarter % 2) + l] >> (quarter / 2 * 4) & 15;
        const int q = (low_bits | (high[l] >> (2 * quarter) & 3) << 4) - 32;
        const auto scale = static_cast<int8_t>(scales[2 * quarter + l / 16]);
        *out++ = d * scale * static_cast<float>(q);
      }
    }
  }
}

constexpr uint16_t kInfiniteF16 = 0x7c00;
constexpr uint16_t kInfiniteBF16 = 0x7f80;

bool AllFinite(const float* x) {
  return std::all_of(x, x + kBlock, [](float v) { return std::isfinite(v); });
}

// Magnitudes compare as their bits do; what is not finite counts as nothing.
float LargestFinite(const float* x, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffff;
    most = std::max(most, magnitude < 0x7f800000 ? magnitude : 0);
  }
  return std::bit_cast<float>(most);
}

void StoreNaNBlock(uint8_t* p, size_t bytes) {
  std::memset(p, 0, bytes);
  StoreF16(std::numeric_limits<float>::quiet_NaN(), p);
}

// The scale of a block whose `steps` steps have to span `extent`: the nearest f16, or the next ones
// where that would end half a step or more before the extent. 0 only for an extent of 0.
float BlockScale(float extent, int steps) {
  if (extent == 0) return 0;
  uint16_t bits = F16FromF32(extent / static_cast<float>(steps));
  while (bits < kInfiniteF16 && extent >= (static_cast<float>(steps) + 0.5f) * F32FromF16(bits)) {
    ++bits;
  }
  return F32FromF16(bits);
}

// Whether f16 has no number for the step that would span the extent but 0.
bool IsBelowF16(float extent, int steps) {
  return F16FromF32(extent / static_cast<float>(steps)) == 0;
}

RoundingLoss QuantizeQ8_0(const float* x, uint8_t* p) {
  RoundingLoss loss{.largest = LargestFinite(x, kBlock)};
  const float d = BlockScale(loss.largest, 127);
  if (std::isinf(d)) loss.overflown = loss.largest;
  if (loss.overflown > 0 || !AllFinite(x)) {
    StoreNaNBlock(p, 34);
    return loss;
  }
  if (IsBelowF16(loss.largest, 127)) loss.vanished = loss.largest;
  const float inverse = d != 0 ? 1 / d : 0;
  StoreF16(d, p);
  for (int j = 0; j < 32; ++j) {
    const float quant = std::clamp(std::round(x[j] * inverse), -127.0f, 127.0f);
    p[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(quant));
  }
  return loss;
}

// A block is off by at most half of f16's least step, 2^-25, in its minimum as in its steps: where
// the largest value is 16 times that, it is there with the precision of 4 bits.
constexpr float kLeastQ4_1 = 0x1p-21f;

RoundingLoss QuantizeQ4_1(const float* x, uint8_t* p) {
  RoundingLoss loss{.largest = LargestFinite(x, kBlock)};
  const auto [least, most] = std::minmax_element(x, x + 32);
  const float m = F32FromF16(F16FromF32(*least));
  const float d = BlockScale(std::max(*most - m, 0.0f), 15);
  const bool finite = AllFinite(x);
  if (finite && (std::isinf(m) || std::isinf(d))) loss.overflown = loss.largest;
  if (loss.overflown > 0 || !finite) {
    StoreNaNBlock(p, 20);
    return loss;
  }
  if (IsBelowF16(*most - *least, 15) && loss.largest < kLeastQ4_1) loss.vanished = loss.largest;
  const float inverse = d != 0 ? 1 / d : 0;
  StoreF16(d, p);
  StoreF16(m, p + 2);
  const auto quant = [&](float v) {
    return static_cast<int>(std::clamp((v - m) * inverse + 0.5f, 0.0f, 15.5f));
  };
  for (int j = 0; j < 16; ++j) {
    p[4 + j] = static_cast<uint8_t>(quant(x[j]) | quant(x[j + 16]) << 4);
  }
  return loss;
}

template <typename QuantizeBlock>
RoundingLoss QuantizeBlocks(TensorType type, const float* x, int64_t n, uint8_t* row,
                            QuantizeBlock quantize) {
  RoundingLoss loss;
  for (int64_t i = 0; i < n; i += kBlock) loss.Add(quantize(x + i, row + RowBytes(type, i)));
  return loss;
}

// Rounding keeps the order of magnitudes: if one becomes infinite, the largest does.
template <typename Round>
RoundingLoss RoundToSixteenBits(const float* x, int64_t n, uint8_t* row, Round round,
                                uint16_t infinite) {
  for (int64_t i = 0; i < n; ++i) StoreLittleEndian<uint16_t>(round(x[i]), row + 2 * i);
  RoundingLoss loss{.largest = LargestFinite(x, n)};
  if (round(loss.largest) == infinite) loss.overflown = loss.largest;
  return loss;
}

RoundingLoss ConvertQ4_0ToQ4_1(const uint8_t* p, uint8_t* out) {
  const float m = -8 * LoadF16(p);
  std::memcpy(out, p, 2);
  StoreF16(m, out + 2);
  std::memcpy(out + 4, p + 2, 16);
  RoundingLoss loss;
  if (std::isfinite(m) && std::isinf(LoadF16(out + 2))) loss.overflown = std::abs(m);
  return loss;
}

template <typename DequantizeBlock>
void ForEachBlock(TensorType type, const uint8_t* row, int64_t n, float* out,
                  DequantizeBlock dequantize) {
  const TensorTypeTraits traits = Traits(type);
  for (int64_t i = 0; i < n; i += traits.block_elements, row += traits.block_bytes) {
    dequantize(row, out + i);
  }
}

}  // namespace

WeightFormat StoredFormat(TensorType type) {
  switch (type) {
    case TensorType::kF32:
    case TensorType::kF16:
      return WeightFormat::kF32;
    case TensorType::kBF16:
      return WeightFormat::kBF16;
    case TensorType::kQ4_0:
    case TensorType::kQ4_1:
      return WeightFormat::kQ4_1;
    case TensorType::kQ5_0:
    case TensorType::kQ5_1:
    case TensorType::kQ8_0:
    case TensorType::kQ6_K:
      return WeightFormat::kQ8_0;
  }
  return WeightFormat::kF32;
}

void DequantizeRow(TensorType type, const uint8_t* row, int64_t n, float* out) {
  switch (type) {
    case TensorType::kF32:
      std::memcpy(out, row, n * sizeof(float));
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < n; ++i) out[i] = LoadF16(row + 2 * i);
      return;
    case TensorType::kBF16:
      for (int64_t i = 0; i < n; ++i) out[i] = F32FromBF16(LoadLittleEndian<uint16_t>(row + 2 * i));
      return;
    case TensorType::kQ4_0:
      return ForEachBlock(type, row, n, out, DequantizeQ4_0);
    case TensorType::kQ4_1:
      return ForEachBlock(type, row, n, out, DequantizeQ4_1);
    case TensorType::kQ5_0:
      return ForEachBlock(type, row, n, out, DequantizeQ5_0);
    case TensorType::kQ5_1:
      return ForEachBlock(type, row, n, out, DequantizeQ5_1);
    case TensorType::kQ8_0:
      return ForEachBlock(type, row, n, out, DequantizeQ8_0);
    case TensorType::kQ6_K:
      return ForEachBlock(type, row, n, out, DequantizeQ6_K);
  }
}

RoundingLoss QuantizeRow(TensorType type, const float* x, int64_t n, uint8_t* row) {
  switch (type) {
    case TensorType::kF32:
      std::memcpy(row, x, n * sizeof(float));
      return {};
    case TensorType::kF16:
      return RoundToSixteenBits(x, n, row, F16FromF32, kInfiniteF16);
    case TensorType::kBF16:
      return RoundToSixteenBits(x, n, row, BF16FromF32, kInfiniteBF16);
    case TensorType::kQ8_0:
      return QuantizeBlocks(type, x, n, row, QuantizeQ8_0);
    case TensorType::kQ4_1:
      return QuantizeBlocks(type, x, n, row, QuantizeQ4_1);
    case TensorType::kQ4_0:
    case TensorType::kQ5_0:
    case TensorType::kQ5_1:
    case TensorType::kQ6_K:
      assert(false);
  }
  return {};
}

RoundingLoss ConvertRow(const ConvertRowArgs& args, uint8_t* out) {
  RoundingLoss loss;
  if (args.from == StoredType(args.to)) {
    std::memcpy(out, args.row, RowBytes(args.from, args.n));
    return loss;
  }
  if (args.from == TensorType::kQ4_0 && args.to == WeightFormat::kQ4_1) {
    for (int64_t b = 0; b < args.n / kBlock; ++b) {
      loss.Add(ConvertQ4_0ToQ4_1(args.row + 18 * b, out + 20 * b));
    }
    return loss;
  }
  constexpr int64_t kChunk = 256;  // whole blocks of every type
  float values[kChunk];
  for (int64_t i = 0; i < args.n; i += kChunk) {
    const int64_t n = std::min(kChunk, args.n - i);
    DequantizeRow(args.from, args.row + RowBytes(args.from, i), n, values);
    loss.Add(QuantizeRow(args.to, values, n, out + StoredRowBytes(args.to, i)));
  }
  return loss;
}

}  // namespace peerage::kernels
