#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "base/json_object.h"
#include "model/config/model_config.h"

namespace peerage {

// What a model may ask for. Far above every published model, and low enough that no product of two
// of them overflows 63 bits, nor a file of a few bytes makes us allocate gigabytes.
inline constexpr IntRange kVocabSizeRange{1, 1 << 22};
inline constexpr IntRange kHiddenSizeRange{1, 1 << 16};
inline constexpr IntRange kNumLayersRange{1, 1024};
inline constexpr IntRange kNumHeadsRange{1, 1024};
inline constexpr IntRange kHeadDimRange{2, 1024};
inline constexpr IntRange kIntermediateSizeRange{1, 1 << 20};
inline constexpr IntRange kMaxPositionsRange{1, 1 << 24};
// Experts found by product keys: an expert's id has 32 bits.
inline constexpr IntRange kProductKeyExpertsRange{4, int64_t{65535} * 65535};
inline constexpr IntRange kProductKeyHeadsRange{1, 32};
inline constexpr IntRange kProductKeyTopKRange{1, 128};
inline constexpr IntRange kKeyDimRange{2, 2048};
inline constexpr IntRange kMixtureExpertsRange{1, 256};
inline constexpr int64_t kMaxMixtureExperts = 1 << 16;  // of all layers: each has its own tensors
inline constexpr size_t kMaxExpertNameBytes = 128;
inline constexpr NumberRange kNormEpsRange{1.0};
inline constexpr NumberRange kRopeThetaRange{1e12};

// The names that a format gives to the fields below, for error texts.
struct HeadKeys {
  const char* num_heads;
  const char* num_kv_heads;
  const char* head_dim;
};

// What must hold between fields that are each in range: KV heads divide the heads, a head's
// dimension is even.
absl::Status CheckHeads(const ModelConfig& config, const HeadKeys& keys);

// Layers with gating_residual have equally many experts, because logits go from one to the next.
absl::Status CheckGatingResiduals(const ModelConfig& config);

// At most kMaxMixtureExperts, of attention and feed-forward mixtures together.
absl::Status CheckMixtureExperts(const ModelConfig& config);

}  // namespace peerage
