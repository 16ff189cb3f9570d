#include "tests/support/reference_answers.h"

#include <algorithm>

#include "model/tokenizer/detokenizer.h"
#include "tests/support/fake_model.h"

namespace peerage {
namespace {

bool IsIn(const std::vector<TokenId>& ids, TokenId token) {
  return std::find(ids.begin(), ids.end(), token) != ids.end();
}

// Cuts `text` at the stop string that ends first, the longest of those; true when there is one.
bool CutAtStop(const std::vector<std::string>& stops, ReferenceCandidate& candidate) {
  size_t first_end = std::string::npos;
  for (const std::string& stop : stops) {
    const size_t begin = candidate.text.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end > first_end || (end == first_end && stop.size() < candidate.stop.size())) continue;
    first_end = end;
    candidate.stop = stop;
  }
  if (first_end == std::string::npos) return false;
  candidate.text.resize(first_end - candidate.stop.size());
  return true;
}

}  // namespace

// Precondition of this reference: no stop strings together with min_tokens.
ReferenceCandidate GenerateAlone(const GenerateRequest& request, uint32_t index,
                                 const Tokenizer& tokenizer) {
  ReferenceCandidate candidate;
  std::vector<TokenId> history = request.prompt;
  const StoppingRules& rules = request.stopping;
  while (true) {
    const uint32_t generated = static_cast<uint32_t>(candidate.tokens.size());
    const TokenId token = FakeModel::NextToken(history, request.sampling, index, generated);
    if (request.alternatives >= 0) {
      candidate.logprobs.push_back(LogprobAlone(history, token, request.alternatives));
    }
    candidate.tokens.push_back(token);
    history.push_back(token);

    const bool end = IsIn(rules.end_ids, token);
    const bool stop_id = IsIn(rules.stop_token_ids, token);
    const bool last = end || stop_id || candidate.tokens.size() == rules.max_tokens;
    Detokenizer detokenizer(&tokenizer);
    candidate.text.clear();
    for (TokenId t : candidate.tokens) candidate.text += detokenizer.Append(t);
    if (last) candidate.text += detokenizer.Flush();
    if (CutAtStop(rules.stop, candidate)) {
      candidate.reason = FinishReason::kStop;
      return candidate;
    }
    if (end) candidate.reason = FinishReason::kEndOfSequence;
    if (!end && stop_id) candidate.reason = FinishReason::kStop;
    if (last) return candidate;
  }
}

std::vector<TokenLogprob> PromptLogprobsAlone(const GenerateRequest& request) {
  std::vector<TokenLogprob> logprobs;
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    logprobs.push_back(LogprobAlone(absl::MakeSpan(request.prompt).first(i), request.prompt[i],
                                    std::max(request.alternatives, 0)));
  }
  return logprobs;
}

std::vector<std::vector<TokenLogprob>> ScoreAlone(const ScoreRequest& request) {
  std::vector<std::vector<TokenLogprob>> scores;
  for (const std::vector<TokenId>& continuation : request.continuations) {
    std::vector<TokenId> history = request.context;
    scores.emplace_back();
    for (TokenId token : continuation) {
      scores.back().push_back(LogprobAlone(history, token, request.alternatives));
      history.push_back(token);
    }
  }
  return scores;
}

TokenLogprob LogprobAlone(absl::Span<const TokenId> history, TokenId token, int32_t alternatives) {
  if (history.empty()) return {.token = token};
  return {.token = token,
          .logprob = FakeModel::Logprob(history, token),
          .rank = FakeModel::Rank(history, token),
          .alternatives = FakeModel::Alternatives(history, alternatives)};
}

bool operator==(const TokenLogprob& a, const TokenLogprob& b) {
  const auto same = [](const TokenAlternative& x, const TokenAlternative& y) {
    return x.token == y.token && x.logprob == y.logprob;
  };
  return a.token == b.token && a.logprob == b.logprob && a.rank == b.rank &&
         std::equal(a.alternatives.begin(), a.alternatives.end(), b.alternatives.begin(),
                    b.alternatives.end(), same);
}

}  // namespace peerage
