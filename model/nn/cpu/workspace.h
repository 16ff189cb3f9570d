#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/storage.h"
#include "model/nn/plan/part.h"

namespace peerage::nn::cpu {

// What mixtures of experts work in.
struct MixtureBuffers {
  float* logits = nullptr;  // of attention [tokens][experts]
  // Of feed-forward parts [tokens][experts, and what else the router gives]: in a parallel block
  // their experts are chosen before attention chooses its own.
  float* ffn_logits = nullptr;
  float* kept_logits = nullptr;    // [tokens][experts], until the next layer with gating residual
  float* head_gates = nullptr;     // [tokens][heads of all experts]
  float* gathered = nullptr;       // [tokens * top_k][hidden]: u of every pick, by expert
  float* outputs = nullptr;        // [tokens * top_k][hidden]
  int32_t* row_of_pick = nullptr;  // [tokens][top_k]: where a pick lies in both
  std::vector<int32_t> first_row;  // [experts + 1]
  std::vector<LinearGroup> groups;
};

// The buffers of one step, made once for the largest step; layers use them one after the other.
struct Workspace {
  // Rows whose logits are held at once; more rows go through the output head in groups.
  static constexpr int kLogitRows = 64;

  struct Shape {
    BufferWidths widths;
    int hidden_size = 0;
    int vocab_size = 0;
    int max_tokens = 0;  // of a step
    int threads = 1;
    size_t expert_scratch_bytes = 0;  // the most that a layer's experts need, of one thread
  };
  // Takes every buffer (storage.h: it is called twice).
  void Lay(const Shape& shape, Arena& arena);

  uint8_t* expert_scratch_of(int thread) const { return expert_scratch + thread * scratch_stride; }

  float* residual = nullptr;     // [tokens][hidden]
  float* normed = nullptr;       // [tokens][hidden]
  float* qkv = nullptr;          // [tokens][(heads + 2 * kv_heads) * head_dim]
  float* attended = nullptr;     // [tokens][heads * head_dim]
  float* gate_up = nullptr;      // [tokens][2 * hidden_width]
  float* hidden = nullptr;       // [tokens][hidden_width]
  uint8_t* panels = nullptr;     // of the widest input
  float* logits = nullptr;       // [kLogitRows][vocab]
  float* row_scratch = nullptr;  // [threads][vocab]
  // Of layers whose experts are found by product keys.
  float* expert_input = nullptr;      // [tokens][hidden]
  float* queries = nullptr;           // [tokens][heads * key_dim], or direct scores
  float* head_sums = nullptr;         // [threads - 1][heads][hidden]
  uint8_t* expert_scratch = nullptr;  // [threads][scratch_stride]
  size_t scratch_stride = 0;
  MixtureBuffers mixture;
};

}  // namespace peerage::nn::cpu
