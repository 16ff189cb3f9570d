#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "model/model_config.h"
#include "model/nn/storage.h"

namespace peerage::nn {

// The buffers of one step, made once for the largest step; layers use them one after the other.
struct Workspace {
  // Rows whose logits are held at once; more rows go through the output head in groups.
  static constexpr int kLogitRows = 64;

  // Width of the widest hidden row of any feed-forward part.
  static int HiddenWidth(const ModelConfig& config);
  struct Shape {
    int max_tokens = 0;  // of a step
    int threads = 1;
    size_t expert_scratch_bytes = 0;  // the most that a layer's experts need, of one thread
  };
  static size_t Bytes(const ModelConfig& config, const Shape& shape);
  static absl::StatusOr<Workspace> Make(const ModelConfig& config, const Shape& shape);

  uint8_t* expert_scratch_of(int thread) const { return expert_scratch + thread * scratch_stride; }

  Storage storage;
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
};

}  // namespace peerage::nn
