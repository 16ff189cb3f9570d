#include "tests/support/random_requests.h"

#include <algorithm>

namespace peerage {
namespace {

SamplingParams RandomSampling(Dice& dice, int vocab_size) {
  SamplingParams sampling{.temperature = dice.OneOf({0.0f, 0.6f, 1.0f, 1.7f}),
                          .top_k = dice.OneOf<uint32_t>({0, 0, 1, 5, 20}),
                          .top_p = dice.OneOf({1.0f, 0.9f, 0.5f}),
                          .min_p = dice.OneOf({0.0f, 0.0f, 0.05f}),
                          .seed = dice.Bits(),
                          .repetition_penalty = dice.OneOf({1.0f, 1.3f, 0.8f}),
                          .frequency_penalty = dice.OneOf({0.0f, 0.5f, -0.3f}),
                          .presence_penalty = dice.OneOf({0.0f, 0.7f})};
  for (int i = dice.OneOf({0, 0, 3}); i > 0; --i) {
    sampling.logit_bias.emplace_back(dice.Between(0, vocab_size - 1), dice.Between(-3, 3));
  }
  return sampling;
}

SchedulingParams RandomScheduling(Dice& dice) {
  return {.priority = dice.OneOf({0, 0, -20, 20}),
          .tenant = dice.OneOf({"", "", "a", "b"}),
          .cache_salt = dice.OneOf({"", "", "", "salt"})};
}

}  // namespace

std::vector<TokenId> RandomTokens(Dice& dice, int count, int vocab_size) {
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = dice.Between(0, vocab_size - 1);
  return tokens;
}

GenerateRequest RandomGenerate(Dice& dice, int vocab_size) {
  GenerateRequest request{
      .prompt = RandomTokens(dice, dice.Between(1, dice.OneOf({3, 20, 70})), vocab_size),
      .sampling = RandomSampling(dice, vocab_size),
      .candidates = dice.OneOf<uint32_t>({1, 1, 1, 2, 3}),
      .alternatives = dice.OneOf({-1, 0, 0, 2, 5}),
      .prompt_logprobs = dice.OneIn(2),
      .trace = ExpertTraceLevel::kFull,
      .scheduling = RandomScheduling(dice)};
  StoppingRules& stopping = request.stopping;
  stopping.max_tokens = dice.Between(1, dice.OneOf({3, 12, 40}));
  stopping.min_tokens = std::min<uint32_t>(stopping.max_tokens, dice.OneOf({0, 0, 5}));
  if (dice.OneIn(3)) stopping.stop = {"ab", "a b", "\xC3\xA9"};
  if (dice.OneIn(3)) stopping.stop_token_ids = RandomTokens(dice, 2, vocab_size);
  if (dice.OneIn(3)) stopping.end_ids = RandomTokens(dice, 2, vocab_size);
  SamplingParams& sampling = request.sampling;
  sampling.min_tokens = stopping.min_tokens;
  sampling.masked_ids = stopping.end_ids;
  sampling.masked_ids.insert(sampling.masked_ids.end(), stopping.stop_token_ids.begin(),
                             stopping.stop_token_ids.end());
  return request;
}

ScoreRequest RandomScore(Dice& dice, int vocab_size) {
  ScoreRequest request{
      .context = RandomTokens(dice, dice.Between(0, dice.OneOf({3, 50})), vocab_size),
      .alternatives = dice.OneOf({0, 3}),
      .trace = ExpertTraceLevel::kFull,
      .scheduling = RandomScheduling(dice)};
  for (int i = dice.OneOf({1, 2, 5}); i > 0; --i) {
    request.continuations.push_back(RandomTokens(dice, dice.Between(1, 20), vocab_size));
  }
  return request;
}

}  // namespace peerage
