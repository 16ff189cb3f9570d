#include "server/engine/candidate.h"

#include <algorithm>

namespace peerage {

Candidate::Candidate(uint32_t index, const StoppingRules* rules, const Tokenizer* tokenizer)
    : index_(index), rules_(rules), detokenizer_(tokenizer), stop_matcher_(rules->stop) {}

Candidate::Progress Candidate::Append(TokenId token, const Timeline& started, absl::Time now) {
  timeline_.arrival = started.arrival;
  timeline_.scheduled = started.scheduled;
  timeline_.preemptions = started.preemptions;
  const std::optional<absl::Time> last = timeline_.last_token;
  timeline_.MarkToken(now);

  Progress progress = Take(token);
  if (last) progress.since_last = now - *last;
  if (progress.finish) progress.finish->timings = timeline_.At(now);
  return progress;
}

std::optional<CandidateFinish> Candidate::Resume(TokenId token) { return Take(token).finish; }

Candidate::Progress Candidate::Take(TokenId token) {
  ++completion_tokens_;
  Progress progress{.text = detokenizer_.Append(token), .finish = FinishedBy(token)};
  if (progress.finish) progress.text += detokenizer_.Flush();
  if (completion_tokens_ >= rules_->min_tokens) {
    StopMatcher::Result result = stop_matcher_.Append(progress.text);
    progress.text = std::move(result.text);
    if (result.stop) {
      progress.finish = {.reason = FinishReason::kStop, .stop = rules_->stop[*result.stop]};
    } else if (progress.finish) {
      progress.text += stop_matcher_.Flush();
    }
  }
  if (progress.finish) {
    progress.finish->candidate = index_;
    progress.finish->completion_tokens = completion_tokens_;
  }
  return progress;
}

std::optional<CandidateFinish> Candidate::FinishedBy(TokenId token) const {
  const auto contains = [token](const std::vector<TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  if (contains(rules_->end_ids)) return CandidateFinish{.reason = FinishReason::kEndOfSequence};
  if (contains(rules_->stop_token_ids)) {
    return CandidateFinish{.reason = FinishReason::kStop, .stop_token_id = token};
  }
  if (completion_tokens_ >= rules_->max_tokens) return CandidateFinish{};
  return std::nullopt;
}

}  // namespace peerage
