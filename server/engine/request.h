#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "model/experts/expert_control.h"
#include "model/language_model.h"
#include "model/token.h"
#include "server/engine/expert_trace.h"
#include "server/engine/hidden_states.h"
#include "server/engine/observer.h"
#include "server/engine/request_origin.h"

namespace peerage {

// Something to do on a worker's thread between two steps. Told which of the workers it is, from 0,
// and the time of its turn.
using WorkerTask = std::function<void(int worker, absl::Time now)>;

// Names a submitted request. Handles grow in the order of submission.
using RequestHandle = uint64_t;

// What callers asked for, validated and with every default resolved; immutable once submitted.

struct SchedulingParams {
  int32_t priority = 0;  // lower runs sooner
  std::string tenant;
  std::string host = {};  // the caller's; empty where it is not known
  std::string cache_salt;
  absl::Time arrival = absl::InfinitePast();           // when the call reached the server
  absl::Time queue_deadline = absl::InfiniteFuture();  // not started by then: DEADLINE_EXCEEDED
  absl::Time deadline = absl::InfiniteFuture();        // the call's
};

struct StoppingRules {
  uint32_t max_tokens = 1;  // at least 1
  uint32_t min_tokens = 0;  // stop strings do not match before; ids: SamplingParams::masked_ids
  std::vector<std::string> stop;
  std::vector<TokenId> stop_token_ids;
  std::vector<TokenId> end_ids;  // the model's end-of-sequence ids; empty with ignore_eos
};

struct GenerateRequest {
  static constexpr RequestKind kKind = RequestKind::kGenerate;

  RequestOrigin origin;
  std::vector<TokenId> prompt;  // at least one token
  SamplingParams sampling;
  uint32_t candidates = 1;
  StoppingRules stopping;
  int32_t alternatives = -1;  // per generated token, 0..20; -1: no log-probabilities
  bool prompt_logprobs = false;
  ExpertTraceLevel trace = ExpertTraceLevel::kNone;
  ExpertControl expert_control = {};  // of a model that takes it; only what all candidates share
                                      // is forced when there are several
  SchedulingParams scheduling;
  // By the same request before, fewer than max_tokens unless they end the text; with one candidate
  // only. They are delivered already.
  std::vector<TokenId> generated = {};
  bool is_over = false;  // `generated` ends the text, with its last token
  HiddenStatesChoice hidden_states = {};
};

struct ScoreRequest {
  static constexpr RequestKind kKind = RequestKind::kScore;

  RequestOrigin origin;
  std::vector<TokenId> context;                     // may be empty
  std::vector<std::vector<TokenId>> continuations;  // each of at least one token
  int32_t alternatives = 0;                         // per token, 0..20
  ExpertTraceLevel trace = ExpertTraceLevel::kNone;
  ExpertControl expert_control = {};  // of a model that takes it
  SchedulingParams scheduling;
  HiddenStatesChoice hidden_states = {};
};

}  // namespace peerage
