// Linear layers on the CPU: y[t][n] = sum_k x[t][k] * w[n][k].
//
// Weights are repacked once into tiles of 32 outputs. Every output is reduced in the same order
// whatever the batch, the threads, the instruction set or the other outputs of the matrix, so
// results are bit-identical, also of a matrix that is divided by outputs (docs/adr/0008).
#pragma once

#include <cstddef>
#include <cstdint>

namespace peerage::kernels {

inline constexpr int kBlock = 32;    // weights that share one scale, along k
inline constexpr int kOutputs = 32;  // outputs of one tile

// Where numbers are rounded to integers with a scale in common: zeros when none of them is larger.
inline constexpr float kLeastScaled = 1e-30f;

// f32 and bf16 weights take f32 activations; q8_0 and q4_1 take activations quantised to int8 in
// blocks of 32 (as llama.cpp's Q8_1) and need depth % 32 == 0.
enum class WeightFormat : uint8_t { kF32, kBF16, kQ8_0, kQ4_1 };

constexpr bool IsQuantized(WeightFormat f) {
  return f == WeightFormat::kQ8_0 || f == WeightFormat::kQ4_1;
}

// One matrix in tiles; the last tile is padded with zero outputs. `tiles` is 64-byte aligned and
// belongs to the caller.
struct PackedMatrix {
  WeightFormat format = WeightFormat::kF32;
  int outputs = 0;
  int depth = 0;  // k
  const uint8_t* tiles = nullptr;

  int num_tiles() const { return (outputs + kOutputs - 1) / kOutputs; }
  size_t TileBytes() const;
  size_t Bytes() const { return TileBytes() * num_tiles(); }
};

// Writes rows [first_output, first_output + num_rows) of the matrix into `tiles` (Bytes() bytes,
// zeroed before the first call). `rows`: [num_rows] rows in the format's stored type: f32, bf16, or
// GGUF blocks of q8_0 / q4_1. Threads may pack different rows at the same time.
struct PackArgs {
  PackedMatrix shape;
  int first_output = 0;
  int num_rows = 0;
  const uint8_t* rows = nullptr;
};
void Pack(const PackArgs& args, uint8_t* tiles);

// One row as f32 [depth]: the embedding look-up.
void UnpackRow(const PackedMatrix& matrix, int row, float* out);

// Bytes of the quantised activations ("panels") of `tokens` rows; 0 for f32 and bf16 weights.
size_t PanelBytes(WeightFormat format, int depth, int tokens);

// Quantises a thread's share of the tokens into panels for q8_0 or q4_1 weights. A block of 32 that
// holds a NaN or an infinity makes every output of its token NaN.
struct QuantizeArgs {
  const float* x = nullptr;  // [tokens][stride]
  size_t stride = 0;
  int tokens = 0;
  int depth = 0;
  uint8_t* panels = nullptr;  // PanelBytes(...), aligned to 4 bytes
};
void Quantize(const QuantizeArgs& args, int first_token, int end_token);
void QuantizeReference(const QuantizeArgs& args, int first_token, int end_token);  // same bits

enum class Epilogue : uint8_t { kStore, kAdd };  // y = result, y += result (one rounding)

struct LinearArgs {
  PackedMatrix weights;
  const float* x = nullptr;  // [tokens][x_stride], for f32 and bf16 weights
  size_t x_stride = 0;
  const uint8_t* panels = nullptr;  // for quantised weights
  int tokens = 0;
  float* y = nullptr;  // [tokens][y_stride]; exactly `outputs` values of each row are written
  size_t y_stride = 0;
  Epilogue epilogue = Epilogue::kStore;
  const uint8_t* next = nullptr;  // read after the last tile of `weights` (prefetched), or nullptr
};
// A thread's share of the tiles. f32 and bf16: y = fma(x[k], w[k], y) in order of k, from 0.
void Linear(const LinearArgs& args, int first_tile, int end_tile);

// The specification, one output at a time: plain C++, same bits for quantised formats; for f32 and
// bf16 the sum runs in double.
float LinearReference(const LinearArgs& args, int token, int output);

}  // namespace peerage::kernels
