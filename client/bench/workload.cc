#include "client/bench/workload.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

namespace peerage::client {
namespace {

// Each call has a stream of its own: it asks the same whichever others are made.
std::mt19937_64 StreamOf(uint64_t seed, uint64_t call) {
  std::seed_seq words{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                      static_cast<uint32_t>(call), static_cast<uint32_t>(call >> 32)};
  return std::mt19937_64(words);
}

uint32_t Draw(LengthRange range, std::mt19937_64& random) {
  return std::uniform_int_distribution<uint32_t>(range.least, range.most)(random);
}

void AddTokens(uint32_t count, uint32_t vocabulary_size, std::mt19937_64& random,
               v1::TokenIds& ids) {
  std::uniform_int_distribution<uint32_t> any(0, vocabulary_size - 1);
  for (uint32_t i = 0; i < count; ++i) ids.add_ids(any(random));
}

}  // namespace

LengthRange RangeAround(uint32_t length, double ratio, uint32_t at_least) {
  const auto least = static_cast<uint32_t>(std::floor(length * (1 - ratio)));
  const auto most = static_cast<uint32_t>(std::ceil(length * (1 + ratio)));
  return {.least = std::max(least, at_least), .most = std::max(most, at_least)};
}

RandomWorkload::RandomWorkload(const RandomTokens& tokens, v1::GenerateRequest generate,
                               v1::ScoreRequest score)
    : tokens_(tokens), generate_(std::move(generate)), score_(std::move(score)) {
  std::mt19937_64 random(tokens.seed);
  AddTokens(tokens.prefix_length, tokens.vocabulary_size, random, prefix_);
}

v1::GenerateRequest RandomWorkload::Generate(size_t call) const {
  std::mt19937_64 random = StreamOf(tokens_.seed, call);
  v1::GenerateRequest request = generate_;
  v1::TokenIds& prompt = *request.mutable_prompt()->mutable_token_ids();
  prompt = prefix_;
  AddTokens(Draw(tokens_.input, random), tokens_.vocabulary_size, random, prompt);
  request.mutable_stopping()->set_max_tokens(Draw(tokens_.output, random));
  request.mutable_sampling()->set_seed(random());
  return request;
}

v1::ScoreRequest RandomWorkload::Score(size_t call) const {
  std::mt19937_64 random = StreamOf(tokens_.seed, call);
  v1::ScoreRequest request = score_;
  v1::TokenIds& context = *request.mutable_context()->mutable_token_ids();
  context = prefix_;
  AddTokens(Draw(tokens_.input, random), tokens_.vocabulary_size, random, context);
  for (uint32_t i = 0; i < tokens_.continuations; ++i) {
    AddTokens(Draw(tokens_.output, random), tokens_.vocabulary_size, random,
              *request.add_continuations()->mutable_token_ids());
  }
  return request;
}

}  // namespace peerage::client
