#pragma once

#include <cstdint>
#include <unordered_map>

#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/token.h"

namespace peerage::nn {

// What a model remembers of one sequence: how its logits become tokens, what it has seen, and where
// its random stream is. Devices sample with it; this is the part that is the same on all of them.
//
// Threads: none.
class Slot {
 public:
  Slot() = default;
  // Precondition: all ids in `state` are below the vocabulary's size.
  explicit Slot(const SlotState& state);

  const SamplingParams& sampling() const { return sampling_; }
  uint32_t generated() const { return generated_; }  // tokens so far
  bool has_penalty() const;
  bool must_mask() const { return generated_ < sampling_.min_tokens; }
  // How often each token was generated; 0 for those of the prompt. Only with a penalty.
  const std::unordered_map<TokenId, uint32_t>& seen() const { return seen_; }

  // 64 random bits for the next token: Philox4x32-10 of (seed, candidate, tokens generated so far),
  // so a draw depends on nothing else.
  uint64_t Random() const;

  // The token was sampled.
  void Remember(TokenId token);

 private:
  SamplingParams sampling_;
  uint32_t candidate_ = 0;
  uint32_t generated_ = 0;
  std::unordered_map<TokenId, uint32_t> seen_;
};

}  // namespace peerage::nn
