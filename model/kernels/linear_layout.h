// How weights and activations lie in memory for linear.h: what packing writes and kernels read.
//
// A tile is the full depth of 32 outputs.
//   f32: [depth][32 outputs]
//   bf16: [depth / 2, rounded up][32 outputs][2 of k]
//   q8_0, per block of k: f16 d[32]; u8 v[8][2][64]
//   q4_1, per block of k: f16 d[32]; f16 m[32]; u8 v[4][2][64]
// A vector v[g][h] is outputs 16h..16h+15 times 4 consecutive k, so that one 32-bit lane of an int8
// dot product is one output. q8_0: k = 4g.., stored as value + 128 (the products take one unsigned
// factor). q4_1: low nibbles k = 4g.., high nibbles k = 16 + 4g..
//
// A panel holds 8, 4, 2 or 1 tokens of quantised activations, per block of k:
//   i8 q[tokens][32]; f32 d[tokens]; f32 s[tokens] = d * sum q; i32 c[tokens] = -128 * sum q
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kernels/linear.h"

namespace peerage::kernels {

inline constexpr int kMaxPanelTokens = 8;
inline constexpr size_t kPanelBlockBytes = kBlock + 12;  // of one token
inline constexpr size_t kVectorPairBytes = 128;          // v[g][0] and v[g][1]

// Bytes of one block of k of a tile; the vectors begin at VectorOffset.
constexpr size_t TileBlockBytes(WeightFormat f) { return f == WeightFormat::kQ4_1 ? 640 : 1088; }
constexpr size_t VectorOffset(WeightFormat f) { return f == WeightFormat::kQ4_1 ? 128 : 64; }

// Where the weight of an output at k lies in a tile of f32 or bf16, in elements.
constexpr size_t FloatIndex(WeightFormat f, int k, int lane) {
  if (f == WeightFormat::kF32) return size_t{kOutputs} * k + lane;
  return size_t{kOutputs} * (k & ~1) + 2 * lane + k % 2;
}

// Where an output's 4 bytes lie in a pair of vectors.
constexpr size_t LaneOffset(int lane) { return lane / 16 * 64 + lane % 16 * 4; }

constexpr size_t PanelTokenBytes(int depth) { return kPanelBlockBytes * (depth / kBlock); }

// Tokens of the panel that starts a batch of which `left` tokens are left.
constexpr int PanelTokens(int left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

struct Panel {
  int first = 0;
  int tokens = 0;
};

// The panel that holds a token of a batch.
constexpr Panel PanelOf(int token, int batch) {
  Panel panel{token / kMaxPanelTokens * kMaxPanelTokens, 0};
  for (;; panel.first += panel.tokens) {
    panel.tokens = PanelTokens(batch - panel.first);
    if (token < panel.first + panel.tokens) return panel;
  }
}

// The kernels behind Linear.
void LinearQuantized(const LinearArgs& args, int first_tile, int end_tile);
void LinearFloat(const LinearArgs& args, int first_tile, int end_tile);

}  // namespace peerage::kernels
