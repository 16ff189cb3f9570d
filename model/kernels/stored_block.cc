#include "model/kernels/stored_block.h"

#include <algorithm>
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

bool AllFinite(const float* x) {
  return std::all_of(x, x + kBlock, [](float v) { return std::isfinite(v); });
}

void StoreNaNBlock(uint8_t* p, size_t bytes) {
  std::memset(p, 0, bytes);
  StoreF16(std::numeric_limits<float>::quiet_NaN(), p);
}

void QuantizeQ8_0(const float* x, uint8_t* p) {
  if (!AllFinite(x)) return StoreNaNBlock(p, 34);
  float largest = 0;
  for (int j = 0; j < 32; ++j) largest = std::max(largest, std::abs(x[j]));
  const float d = largest / 127;
  const float inverse = d != 0 ? 1 / d : 0;
  StoreF16(d, p);
  for (int j = 0; j < 32; ++j) {
    p[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[j] * inverse)));
  }
}

void QuantizeQ4_1(const float* x, uint8_t* p) {
  if (!AllFinite(x)) return StoreNaNBlock(p, 20);
  const float least = *std::min_element(x, x + 32);
  const float d = (*std::max_element(x, x + 32) - least) / 15;
  const float inverse = d != 0 ? 1 / d : 0;
  StoreF16(d, p);
  StoreF16(least, p + 2);
  const auto quant = [&](float v) {
    return std::min(15, static_cast<int>((v - least) * inverse + 0.5f));
  };
  for (int j = 0; j < 16; ++j) {
    p[4 + j] = static_cast<uint8_t>(quant(x[j]) | quant(x[j + 16]) << 4);
  }
}

void ConvertQ4_0ToQ4_1(const uint8_t* p, uint8_t* out) {
  std::memcpy(out, p, 2);
  StoreF16(-8 * LoadF16(p), out + 2);
  std::memcpy(out + 4, p + 2, 16);
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

void QuantizeRow(TensorType type, const float* x, int64_t n, uint8_t* row) {
  switch (type) {
    case TensorType::kF32:
      std::memcpy(row, x, n * sizeof(float));
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < n; ++i) StoreF16(x[i], row + 2 * i);
      return;
    case TensorType::kBF16:
      for (int64_t i = 0; i < n; ++i) StoreLittleEndian(BF16FromF32(x[i]), row + 2 * i);
      return;
    case TensorType::kQ8_0:
      for (int64_t i = 0; i < n; i += kBlock) QuantizeQ8_0(x + i, row + RowBytes(type, i));
      return;
    case TensorType::kQ4_1:
      for (int64_t i = 0; i < n; i += kBlock) QuantizeQ4_1(x + i, row + RowBytes(type, i));
      return;
    case TensorType::kQ4_0:
    case TensorType::kQ5_0:
    case TensorType::kQ5_1:
    case TensorType::kQ6_K:
      assert(false);
  }
}

void ConvertRow(const ConvertRowArgs& args, uint8_t* out) {
  if (args.from == StoredType(args.to)) {
    std::memcpy(out, args.row, RowBytes(args.from, args.n));
    return;
  }
  if (args.from == TensorType::kQ4_0 && args.to == WeightFormat::kQ4_1) {
    for (int64_t b = 0; b < args.n / kBlock; ++b)
      ConvertQ4_0ToQ4_1(args.row + 18 * b, out + 20 * b);
    return;
  }
  constexpr int64_t kChunk = 256;  // whole blocks of every type
  float values[kChunk];
  for (int64_t i = 0; i < args.n; i += kChunk) {
    const int64_t n = std::min(kChunk, args.n - i);
    DequantizeRow(args.from, args.row + RowBytes(args.from, i), n, values);
    QuantizeRow(args.to, values, n, out + StoredRowBytes(args.to, i));
  }
}

}  // namespace peerage::kernels
