#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/choice.h"
#include "model/experts/expert_usage.h"
#include "model/language_model.h"
#include "model/token.h"
#include "server/engine/expert_trace.h"
#include "server/engine/hidden_states.h"

namespace peerage {

struct TokenLogprob {
  TokenId token = 0;
  std::optional<float> logprob;  // unset only for a token with nothing before it
  uint32_t rank = 0;
  std::vector<TokenAlternative> alternatives;  // most likely first
};

// One or more tokens of a candidate. Every sampled token is in the delta of its step; only `text`
// may lag (an unfinished code point, a possible stop string).
struct TokenDelta {
  uint32_t candidate = 0;
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;  // parallel to tokens, or empty
};

enum class FinishReason { kEndOfSequence, kStop, kLength };

inline constexpr Choice<FinishReason> kFinishReasons[] = {
    {"end_of_sequence", FinishReason::kEndOfSequence},
    {"stop", FinishReason::kStop},
    {"length", FinishReason::kLength}};

struct Timings {
  absl::Duration queue;                // arrival to first scheduled step
  absl::Duration prefill;              // first scheduled step to first token
  absl::Duration decode;               // first token to last
  absl::Duration time_to_first_token;  // arrival to first token
  uint32_t preemptions = 0;            // how often it was put back, to compute anew what it had
};

// The moments of a request, or of one of its candidates, from which its timings follow.
struct Timeline {
  absl::Time arrival;
  std::optional<absl::Time> scheduled;  // its first step
  std::optional<absl::Time> first_token;
  std::optional<absl::Time> last_token;
  uint32_t preemptions = 0;

  void MarkToken(absl::Time now) {
    if (!first_token) first_token = now;
    last_token = now;
  }

  // A phase that was not reached is zero; who was never scheduled has queued until `now`.
  Timings At(absl::Time now) const {
    Timings timings{.queue = scheduled.value_or(now) - arrival, .preemptions = preemptions};
    if (first_token) {
      timings.prefill = *first_token - *scheduled;
      timings.decode = *last_token - *first_token;
      timings.time_to_first_token = *first_token - arrival;
    }
    return timings;
  }
};

// The experts that consecutive tokens of a candidate picked when a step computed them: views of the
// step's memory. With several candidates each computes the prompt's last token.
struct TokenPicks {
  uint32_t candidate = 0;
  uint32_t first_position = 0;  // in prompt and generated tokens
  uint32_t tokens = 0;
  std::vector<ExpertPicks> layers;  // [the model's expert layers]
};

struct CandidateFinish {
  uint32_t candidate = 0;
  FinishReason reason = FinishReason::kLength;
  std::string stop;                      // the stop string that matched, or empty
  std::optional<TokenId> stop_token_id;  // the stop token that matched
  uint32_t completion_tokens = 0;
  Timings timings;
  // Of every generated token but the last one: it ends the candidate, so no step computes it.
  ExpertTrace trace;
};

struct ContinuationScore {
  uint32_t continuation = 0;         // index in the request
  std::vector<TokenLogprob> tokens;  // one per token, always
  // Of every token but the last one: it is scored by the step before, so no step computes it.
  ExpertTrace trace;
};

// Where a request's results go. The engine calls OnStarted at most once, then the others, and
// OnDone exactly once, last: OK after every candidate or continuation was delivered, else the
// error. After OnDone the engine lets go of the sink.
//
// Threads: called by one thread at a time, the worker's or, once that hangs, the watchdog's;
// implementations lock what they share. Calls must not block.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;

  // The request's first step is scheduled. So many of its first tokens are not computed, for they
  // were for somebody else: of its prompt or context, and of what it generated before.
  virtual void OnStarted(uint32_t cached_tokens) = 0;
  // Whoever keeps what he is given moves it. NOLINTBEGIN(performance-unnecessary-value-param)
  virtual void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) {}
  // With a full trace, of every step: for who shows it at once. The trace has them, too.
  virtual void OnPicks(const TokenPicks& picks) {}
  virtual void OnDelta(TokenDelta delta) {}
  // When a trace was asked for, once: before the first OnFinished or OnScore.
  virtual void OnPromptTrace(ExpertTrace trace) {}
  // Where any were asked for and computed: once of each part, before its OnFinished or OnScore, and
  // of the prompt before the first of them.
  virtual void OnHiddenStates(HiddenStates states) {}
  virtual void OnFinished(CandidateFinish finish) {}
  virtual void OnScore(ContinuationScore score) {}
  // NOLINTEND(performance-unnecessary-value-param)
  virtual void OnDone(absl::Status status, const Timings& timings) = 0;

  // False while the reader is too slow: the request's sequences then keep their KV blocks but are
  // not scheduled until there is room (Engine::Wake), or for long enough to be given up.
  virtual bool HasRoom() const { return true; }
};

}  // namespace peerage
