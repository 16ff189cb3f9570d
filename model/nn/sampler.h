#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/language_model.h"
#include "model/token.h"

namespace peerage::nn {

// Room for one draw at a time; reused, so that no draw allocates.
struct SamplerScratch {
  SamplerScratch() = default;
  explicit SamplerScratch(size_t vocabulary);

  std::vector<float> logits;    // of `tokens`; or of masked tokens, while the mask is tried
  std::vector<float> weights;   // proportional to the probabilities
  std::vector<TokenId> tokens;  // kept by top_k, ascending
  std::vector<TokenId> ranked;  // partly ordered by logit
};

// One slot's way from logits to tokens: its parameters, what it has seen, its random stream.
//
// Order of the steps: inference.proto, `Sampling`. Each of top_k, top_p and min_p keeps the head of
// one order, the higher logit first and the lower id on ties; top_p is the mass within what top_k
// kept. The draw inverts the cumulative distribution of the kept tokens in order of id, in integers
// of 2^-40 of the highest probability: sums are exact, so no result hangs on their order.
// Randomness is Philox4x32-10 of (seed, candidate, number of tokens generated so far), so a draw
// depends on nothing else.
//
// Threads: none. Copyable: Fork copies and changes the candidate.
class Sampler {
 public:
  Sampler() = default;
  // Precondition: ids in `params` and `prompt` are below the vocabulary's size.
  Sampler(const SamplingParams& params, std::span<const TokenId> prompt);

  void set_candidate(uint32_t candidate) { candidate_ = candidate; }

  // Draws the next token and remembers it. `logits` are scratch afterwards (bias, penalties and
  // masks are applied in place). When every token is masked, the mask is ignored.
  // Precondition: neither NaN nor +infinity, at least one finite.
  TokenId Sample(std::span<float> logits, SamplerScratch& scratch);

 private:
  bool HasPenalty() const;
  void Penalize(std::span<float> logits) const;
  void Mask(std::span<float> logits, std::vector<float>& saved) const;
  TokenId Draw(std::span<const float> logits, SamplerScratch& scratch) const;
  uint64_t Random() const;

  SamplingParams params_;
  uint32_t candidate_ = 0;
  uint32_t generated_ = 0;
  // How often each token was generated; 0 for those of the prompt. Only with a penalty.
  std::unordered_map<TokenId, uint32_t> seen_;
};

}  // namespace peerage::nn
