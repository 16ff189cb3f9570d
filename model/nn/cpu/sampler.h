#pragma once

#include <span>
#include <vector>

#include "model/nn/step/slot.h"
#include "model/token.h"

namespace peerage::nn::cpu {

// Room for one draw at a time; reused, so that no draw allocates.
struct SamplerScratch {
  SamplerScratch() = default;
  explicit SamplerScratch(size_t vocabulary);

  std::vector<float> logits;    // of `tokens`; or of masked tokens, while the mask is tried
  std::vector<float> weights;   // proportional to the probabilities
  std::vector<TokenId> tokens;  // kept by top_k, ascending
  std::vector<TokenId> ranked;  // partly ordered by logit
};

// Draws a slot's next token, which the slot then remembers. `logits` are scratch afterwards (bias,
// penalties and masks are applied in place). When every token is masked, the mask is ignored.
//
// Order of the steps: inference.proto, `Sampling`. Each of top_k, top_p and min_p keeps the head of
// one order, the higher logit first and the lower id on ties; top_p is the mass within what top_k
// kept. The draw inverts the cumulative distribution of the kept tokens in order of id, in integers
// of 2^-40 of the highest probability: sums are exact, so no result hangs on their order.
//
// Precondition: neither NaN nor +infinity, at least one finite.
TokenId Sample(Slot& slot, std::span<float> logits, SamplerScratch& scratch);

}  // namespace peerage::nn::cpu
