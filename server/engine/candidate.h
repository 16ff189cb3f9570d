#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "model/token.h"
#include "model/tokenizer/detokenizer.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/engine/stop_matcher.h"

namespace peerage {

// One candidate's way from sampled tokens to text, and when it is over.
//
// Threads: none; belongs to one worker.
class Candidate {
 public:
  // What one more token brings.
  struct Progress {
    std::string text;
    std::optional<CandidateFinish> finish;
    std::optional<absl::Duration> since_last;  // token, if it is not the first
  };

  // `rules` and `tokenizer` must outlive the candidate.
  Candidate(uint32_t index, const StoppingRules* rules, const Tokenizer* tokenizer);

  // `started` is the request's timeline. A stop string counts from the token on that reaches
  // min_tokens: earlier text is already with the reader. When several rules end a candidate at the
  // same token, a stop string goes before an end id, a stop id and the length.
  // Precondition: not finished.
  Progress Append(TokenId token, const Timeline& started, absl::Time now);

  // Takes a token that was generated and delivered before; how the candidate has finished, if it
  // has, without its timings. Precondition: not finished.
  std::optional<CandidateFinish> Resume(TokenId token);

  uint32_t completion_tokens() const { return completion_tokens_; }

 private:
  Progress Take(TokenId token);
  std::optional<CandidateFinish> FinishedBy(TokenId token) const;

  const uint32_t index_;
  const StoppingRules* const rules_;
  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
  uint32_t completion_tokens_ = 0;
  Timeline timeline_;
};

}  // namespace peerage
