#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/token.h"
#include "server/engine/expert_trace.h"

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

struct Timings {
  absl::Duration queue;                // arrival to first scheduled step
  absl::Duration prefill;              // first scheduled step to first token
  absl::Duration decode;               // first token to last
  absl::Duration time_to_first_token;  // arrival to first token
};

struct CandidateFinish {
  uint32_t candidate = 0;
  FinishReason reason = FinishReason::kLength;
  std::string stop;                      // the stop string that matched, or empty
  std::optional<TokenId> stop_token_id;  // the stop token that matched
  uint32_t completion_tokens = 0;
  Timings timings;
  ExpertTrace trace;  // of its tokens but the last, which no step computes
};

struct ContinuationScore {
  uint32_t continuation = 0;         // index in the request
  std::vector<TokenLogprob> tokens;  // one per token, always
  ExpertTrace trace;                 // of its tokens but the last, which no step computes
};

// Where a request's results go. The engine calls OnStarted at most once, then the others, and
// OnDone exactly once, last: OK after every candidate or continuation was delivered, else the
// error. After OnDone the engine lets go of the sink.
//
// Threads: called by one thread at a time (the worker's, or the submitter's for OnDone on a refused
// start); implementations lock what they share. Calls must not block.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;

  // The request's first step is scheduled.
  virtual void OnStarted() = 0;
  virtual void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) {}
  virtual void OnDelta(TokenDelta delta) {}
  // When a trace was asked for, once: before the first OnFinished or OnScore.
  virtual void OnPromptTrace(ExpertTrace trace) {}
  virtual void OnFinished(CandidateFinish finish) {}
  virtual void OnScore(ContinuationScore score) {}
  virtual void OnDone(absl::Status status, const Timings& timings) = 0;

  // False while the reader is too slow: the request's sequences then keep their KV blocks but are
  // not scheduled until there is room (Engine::Wake), or for long enough to be given up.
  virtual bool HasRoom() const { return true; }
};

}  // namespace peerage
