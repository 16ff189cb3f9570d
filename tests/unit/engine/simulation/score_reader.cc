#include "tests/unit/engine/simulation/score_reader.h"

#include "tests/unit/engine/simulation/answers.h"

namespace peerage {

void ScoreReader::OnScore(ContinuationScore score) {
  CheckRunning();
  Require(score.continuation < delivered_.size() && !delivered_[score.continuation],
          "gets continuation ", score.continuation, " twice");
  if (!parts_.verdict->ok()) return;
  delivered_[score.continuation] = true;
  ++num_delivered_;
  MarkWholePrompt();
  CheckTokens(score);
  CheckPromptTraceCame();
  const absl::Span<const TokenId> tokens = request_.continuations[score.continuation];
  if (request_.trace == ExpertTraceLevel::kFull && parts_.verdict->ok()) {
    CheckTrace(score.trace, tokens.first(tokens.size() - 1), request_.context.size());
  }
  scored_ += static_cast<uint32_t>(tokens.size());
  parts_.ledger->scored += static_cast<int64_t>(tokens.size());
  Log(400 + score.continuation);
}

void ScoreReader::CheckTokens(const ContinuationScore& score) {
  const std::vector<TokenId>& tokens = request_.continuations[score.continuation];
  Require(score.tokens.size() == tokens.size(), "gets ", score.tokens.size(), " scores for ",
          tokens.size(), " tokens");
  uint64_t past = answers::Hash(answers::kNothing, request_.context);
  for (size_t i = 0; parts_.verdict->ok() && i < tokens.size(); ++i) {
    if (i == 0 && request_.context.empty()) {
      Require(!score.tokens[0].logprob, "gets a first token with something before");
    } else {
      CheckScore(score.tokens[i], past, tokens[i], request_.alternatives);
    }
    past = answers::Mix(past, tokens[i]);
  }
}

void ScoreReader::CheckCounts(const RequestEvent& event) {
  // Continuations that are not whole are computed in part, and not delivered.
  Require(event.kind == RequestKind::kScore && event.completion_tokens >= scored_, "is billed for ",
          event.completion_tokens, " scored tokens of ", scored_);
  size_t all = 0;
  for (const auto& continuation : request_.continuations) all += continuation.size();
  Require(event.completion_tokens <= all, "is billed for more tokens than it has");
  Require(!complete() || event.completion_tokens == all, "is not billed for all of its tokens");
}

}  // namespace peerage
