// How a set of sub-keys lies in memory, each part at a multiple of 64 bytes:
//   tiles   all keys as linear.h packs them: exact fp32 scores
// and for sets that bf16 arithmetic pays for (UsesBF16):
//   norm    f32: no key's norm is above it
//   bf16    all keys rounded and packed in the same way: approximate scores. Keys of that format
//           have them already: the tiles.
//   rows    [n][width] of the stored type, each row at a multiple of 64 bytes: exact scores of few
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kernels/product_keys.h"

namespace peerage::kernels {

// Below, scores are cheap and the second look at the candidates is not.
inline constexpr int kLeastBF16Keys = 256;

constexpr size_t RoundUp64(size_t bytes) { return (bytes + 63) / 64 * 64; }

constexpr bool UsesBF16(const SubKeys& keys) { return keys.n >= kLeastBF16Keys; }

constexpr size_t KeyBytes(const SubKeys& keys) {
  return size_t{keys.format == WeightFormat::kF32 ? 4u : 2u} * keys.width;
}

inline PackedMatrix SubKeyTiles(const SubKeys& keys) {
  return {keys.format, keys.n, keys.width, keys.data};
}

struct SubKeyLayout {
  explicit SubKeyLayout(const SubKeys& keys)
      : norm(RoundUp64(SubKeyTiles(keys).Bytes())),
        bf16(keys.format == WeightFormat::kBF16 ? 0 : norm + 64),
        rows(bf16 == 0 ? norm + 64 : bf16 + BF16Shape(keys).Bytes()),
        row_bytes(RoundUp64(KeyBytes(keys))),
        bytes(UsesBF16(keys) ? rows + row_bytes * keys.n : norm) {}

  size_t norm, bf16, rows;  // offsets
  size_t row_bytes;
  size_t bytes;  // of everything

  static PackedMatrix BF16Shape(const SubKeys& keys) {
    return {WeightFormat::kBF16, keys.n, keys.width, nullptr};
  }
};

// The tiles of the keys in bf16. Precondition: UsesBF16.
inline PackedMatrix BF16Tiles(const SubKeys& keys) {
  PackedMatrix tiles = SubKeyLayout::BF16Shape(keys);
  tiles.tiles = keys.data + SubKeyLayout(keys).bf16;
  return tiles;
}

// Sub-key scores with AVX512-BF16 (vdpbf16ps): half the cost of fp32, and still the fp32 result.

// This CPU has the instructions.
bool HasBF16Arithmetic();

// What follows is for CPUs that have them and keys that they pay for (UsesBF16).

// The largest difference of a query's approximate scores from exact ones, or infinity when there is
// no proof of any (extreme values, NaN).
float BF16Tolerance(const SubKeys& keys, const float* query);

// Pairs of bf16 that a query takes in the work space.
constexpr size_t RoundedStride(int width) { return (static_cast<size_t>(width) + 15) / 16 * 8; }

struct ApproximateArgs {
  SubKeys keys;
  const float* queries = nullptr;  // [rows][stride]
  size_t stride = 0;
  int rows = 0;
  uint32_t* rounded = nullptr;  // work space [rows][RoundedStride(width)]
  float* scores = nullptr;      // [rows][score_stride], written up to a multiple of kOutputs
  size_t score_stride = 0;
};
void ScoreApproximately(const ApproximateArgs& args);

// scores[i] of key ids[i]: the fp32 chain. Arrays are read and written up to a multiple of 16; what
// lies behind `count` in `ids` is overwritten.
struct RescoreArgs {
  SubKeys keys;
  const float* query = nullptr;
  int count = 0;
  uint32_t* ids = nullptr;
  float* scores = nullptr;
};
void Rescore(const RescoreArgs& args);

}  // namespace peerage::kernels
