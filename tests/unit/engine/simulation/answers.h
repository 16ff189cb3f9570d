#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "model/language_model.h"

// What a right model answers in a simulation: hashes of the tokens before a place, so that an
// answer to a wrong past is a wrong answer. A hash grows token by token, which makes both the model
// and those who know what it must answer cheap.
namespace peerage::answers {

inline constexpr uint32_t kVocabulary = 32;
inline constexpr uint64_t kNothing = 0x243F6A8885A308D3;  // before any token
inline constexpr ExpertLayer kExperts = {.num_experts = 64, .heads = 1, .top_k = 2};

inline uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15;
  return hash ^ (hash >> 29);
}

// Of what `before` is the hash of, and these tokens behind it.
inline uint64_t Hash(uint64_t before, absl::Span<const TokenId> tokens) {
  for (TokenId token : tokens) before = Mix(before, token);
  return before;
}

// The token that a candidate draws after having generated so many.
inline TokenId Draw(uint64_t past, const SamplingParams& sampling, uint32_t candidate,
                    uint32_t generated) {
  if (sampling.temperature != 0) past = Mix(Mix(past, sampling.seed), candidate);
  auto token = static_cast<TokenId>(past % kVocabulary);
  const auto masked = [&sampling](TokenId id) {
    const auto& ids = sampling.masked_ids;
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  while (generated < sampling.min_tokens && masked(token)) token = (token + 1) % kVocabulary;
  return token;
}

inline TokenScore Score(uint64_t past, TokenId token) {
  const uint64_t hash = Mix(past, token);
  return {.token = token,
          .logprob = -static_cast<float>(1 + hash % 1000) / 128,
          .rank = 1 + static_cast<uint32_t>(hash % 17)};
}

// The i-th most likely token.
inline TokenAlternative Alternative(uint64_t past, int32_t i) {
  return {.token = static_cast<TokenId>((past + i) % kVocabulary),
          .logprob = -static_cast<float>(i + 1) / 8};
}

// The k-th expert that a token at a position picks, and its weight.
inline uint32_t Pick(TokenId token, int32_t position, uint32_t k) {
  return static_cast<uint32_t>((Mix(Mix(kNothing, token), position) + k) % kExperts.num_experts);
}
inline float PickWeight(uint32_t expert) { return static_cast<float>(1 + expert) / 256; }

}  // namespace peerage::answers
