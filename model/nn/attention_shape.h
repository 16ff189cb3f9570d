#pragma once

#include <cmath>

#include "model/config/model_config.h"
#include "model/kernels/attention.h"

namespace peerage::nn {

// The heads that a layer's attention computes: those of all its experts side by side, over the KV
// heads of all or over shared ones.
inline kernels::AttentionShape AttentionShapeOf(const ModelConfig& config,
                                                const AttentionConfig& attention) {
  return {.heads = attention.num_experts() * config.num_heads,
          .kv_heads = attention.num_kv_experts() * config.num_kv_heads,
          .head_dim = config.head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim))};
}

}  // namespace peerage::nn
