#pragma once

#include <cstddef>
#include <cstdint>

#include "model/nn/arena.h"
#include "model/nn/cuda/weights.h"
#include "model/nn/plan/part.h"

namespace peerage::nn::cuda {

// What mixtures of experts work in.
struct MixtureBuffers {
  float* logits = nullptr;         // of attention [tokens][experts]
  float* ffn_logits = nullptr;     // [tokens][experts, and what else the router gives]
  float* kept_logits = nullptr;    // [tokens][experts], until the next layer with gating residual
  float* head_gates = nullptr;     // [tokens][heads of all experts]
  void* gathered = nullptr;        // [tokens * top_k][hidden]: u of every pick, by expert
  float* outputs = nullptr;        // [tokens * top_k][hidden]
  int32_t* row_of_pick = nullptr;  // [tokens][top_k]: where a pick lies in both
  int32_t* first_row = nullptr;    // [experts + 1]
};

// The buffers of one step on the device, made once for the largest step; layers use them one after
// the other. Activations (void*) are f32 or bf16.
struct Workspace {
  // Rows whose logits are held at once; more rows go through the output head in groups.
  static constexpr int kLogitRows = 64;

  struct Shape {
    BufferWidths widths;
    DeviceFloat activations = DeviceFloat::kBF16;
    int hidden_size = 0;
    int vocab_size = 0;
    int max_tokens = 0;        // of a step
    int most_ffns = 0;         // of a mixture
    size_t scratch_bytes = 0;  // the most that one launch needs
  };
  // Takes every buffer (arena.h: it is called twice).
  void Lay(const Shape& shape, Arena& arena);

  float* residual = nullptr;     // [tokens][hidden]
  void* normed = nullptr;        // [tokens][hidden]
  float* qkv = nullptr;          // [tokens][(heads + 2 * kv_heads) * head_dim]
  void* attended = nullptr;      // [tokens][heads * head_dim]
  float* gate_up = nullptr;      // [tokens][2 * hidden_width]
  void* hidden = nullptr;        // [tokens][hidden_width]
  void* last = nullptr;          // [kLogitRows][hidden]: what the output head reads
  float* logits = nullptr;       // [kLogitRows][vocab]
  void* expert_input = nullptr;  // [tokens][hidden]
  float* queries = nullptr;      // [tokens][heads * key_dim], or direct scores
  float* head_sums = nullptr;    // [tokens][heads][hidden]
  uint8_t* scratch = nullptr;    // of the launch that runs
  uint8_t* matmul = nullptr;     // of cuBLASLt
  MixtureBuffers mixture;
};

}  // namespace peerage::nn::cuda
