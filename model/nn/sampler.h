#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/language_model.h"
#include "model/token.h"

namespace peerage::nn {

// One slot's way from logits to tokens: its parameters, what it has seen, its random stream.
// Order of the steps: inference.proto, `Sampling`. Randomness is Philox4x32-10 (Salmon et al. 2011)
// of (seed, candidate, number of tokens generated so far), so a draw depends on nothing else.
//
// Threads: none. Copyable: Fork copies and changes the candidate.
class Sampler {
 public:
  Sampler() = default;
  Sampler(const SamplingParams& params, std::span<const TokenId> prompt);

  void set_candidate(uint32_t candidate) { candidate_ = candidate; }

  // Draws the next token and remembers it. `logits` are scratch afterwards (bias, penalties and
  // masks are applied in place). When every token is masked, the mask is ignored.
  // Precondition: no NaN, at least one finite.
  TokenId Sample(std::span<float> logits, std::vector<float>& scratch);

 private:
  SamplingParams params_;
  uint32_t candidate_ = 0;
  uint32_t generated_ = 0;
  std::unordered_map<TokenId, uint32_t> counts_;  // of generated tokens
  std::unordered_map<TokenId, bool> seen_;        // prompt and generated; only with a penalty
};

}  // namespace peerage::nn
