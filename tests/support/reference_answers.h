#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"

namespace peerage {

// What a request must get from an engine on a FakeModel whatever runs beside it: the request alone,
// token by token, with nothing shared, cut or scheduled.

struct ReferenceCandidate {
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;
  FinishReason reason = FinishReason::kLength;
  std::string stop;
};

ReferenceCandidate GenerateAlone(const GenerateRequest& request, uint32_t candidate,
                                 const Tokenizer& tokenizer);

// [prompt tokens]
std::vector<TokenLogprob> PromptLogprobsAlone(const GenerateRequest& request);

// [continuations, tokens]
std::vector<std::vector<TokenLogprob>> ScoreAlone(const ScoreRequest& request);

// What FakeModel reports of `token` after `history`.
TokenLogprob LogprobAlone(absl::Span<const TokenId> history, TokenId token, int32_t alternatives);

bool operator==(const TokenLogprob& a, const TokenLogprob& b);

}  // namespace peerage
