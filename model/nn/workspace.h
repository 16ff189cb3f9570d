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
  static size_t Bytes(const ModelConfig& config, int max_tokens, int threads);
  static absl::StatusOr<Workspace> Make(const ModelConfig& config, int max_tokens, int threads);

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
};

}  // namespace peerage::nn
