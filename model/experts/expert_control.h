#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace peerage {

// Added to the router's logit of one expert.
struct ExpertBias {
  uint32_t id = 0;
  float logit = 0;
};

// Experts that are given instead of chosen, for consecutive tokens of a request in the order of a
// trace: prompt or context first, then candidates or continuations.
struct ForcedPicks {
  uint32_t first_token = 0;
  uint32_t tokens = 0;
  std::vector<uint32_t>
      ids;  // [tokens, heads, top_k], apart in each head, whose kNoExpert are last
  std::vector<float> weights;  // likewise, or empty: the router's own for these experts

  bool Covers(int64_t token) const {
    return token >= first_token && token < int64_t{first_token} + tokens;
  }
};

// What the router of one expert layer is told. A token that is forced gets what it is forced to,
// and nothing else here counts for it. For all others: logits get their biases; masked experts
// leave the choice, and the next best take their places; of what is left the best `top_k` of each
// head are picked. Weights come of the biased logits as ever: a softmax over the picks is one over
// the picks that there are, one over all experts has the masked ones in its sum. So masking what
// would not be picked changes no bit.
struct LayerControl {
  std::vector<uint32_t> masked_ids;  // ascending; they leave one expert at least in each set
  std::vector<ExpertBias> biases;    // ascending
  uint32_t top_k = 0;                // at most the layer's; 0: the layer's
  ForcedPicks forced;

  bool masks(uint32_t id) const;
};

// What is asked of one token in one layer.
struct TokenControl {
  const LayerControl* layer = nullptr;  // null: nothing
  absl::Span<const uint32_t> ids;       // [heads, top_k] when the token is forced, else empty
  absl::Span<const float> weights;      // likewise, or empty: the router's own
};

// What a request asks of a model's routers: for studies that leave experts out (ablation) or repeat
// what another run picked (replay).
struct ExpertControl {
  std::vector<LayerControl> layers;  // [the model's expert layers]; none: nothing is asked

  bool empty() const { return layers.empty(); }
  // `token` counts the request's tokens in the order of a trace.
  TokenControl Of(size_t expert_layer, int64_t token) const;
};

// Tells controls apart: keys and values of a request hold for requests with the same fingerprint
// only. Empty for an empty control, else a SHA-256 in hex.
std::string ControlFingerprint(const ExpertControl& control);

}  // namespace peerage
