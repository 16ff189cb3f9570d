#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/request_origin.h"
#include "server/engine/response_sink.h"
#include "server/engine/worker_status.h"

namespace peerage {

enum class RequestKind { kGenerate, kScore };

// One step of the model.
struct StepEvent {
  absl::Duration duration;     // of the model's call
  int32_t prefill_tokens = 0;  // computed for prompts, contexts and continuations
  int32_t decode_tokens = 0;   // computed for generation
  int32_t sequences = 0;
};

// What clients got since the last of these events.
struct TokensEvent {
  int64_t prompt = 0;     // of prompts and contexts, computed; each once, however many candidates
  int64_t generated = 0;  // delivered to sinks
  int64_t scored = 0;     // likewise, of continuations
  int64_t prefix_queried = 0;  // tokens of prompts and contexts, looked for in the prefix cache
  int64_t prefix_hit = 0;      // likewise, found
  int64_t recomputed = 0;      // that had been computed before their request was preempted
  int64_t preemptions = 0;
  std::vector<double> first_token_seconds = {};  // of requests that got their first one
  std::vector<double> inter_token_seconds =
      {};  // between a candidate's tokens, one after the other

  bool empty() const {
    return prompt == 0 && generated == 0 && scored == 0 && prefix_queried == 0 && recomputed == 0 &&
           preemptions == 0 && first_token_seconds.empty() && inter_token_seconds.empty();
  }
};

// A worker is in another state, or could not leave the one it is in.
struct WorkerEvent {
  int worker = 0;
  WorkerState state = WorkerState::kReady;
  absl::Status reason;  // OK when it is ready
};

// One turn of the worker's loop, idle turns included.
struct TurnEvent {
  absl::Duration overhead;  // without the model's call
};

// A request that has ended, or was refused at the door.
struct RequestEvent {
  RequestKind kind = RequestKind::kGenerate;
  RequestOrigin origin;
  std::string tenant;
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string error;       // the message of a code that is not OK
  bool admitted = false;   // else refused at a door
  bool scheduled = false;  // it got as far as a step
  uint32_t prompt_tokens = 0;
  uint32_t cached_prompt_tokens = 0;  // of them
  uint32_t completion_tokens = 0;
  uint32_t longest_candidate = 0;                    // tokens
  std::array<uint32_t, 3> finished_candidates = {};  // by FinishReason
  uint32_t unfinished_candidates = 0;                // the request's end was theirs
  std::optional<uint64_t> distinct_experts;          // over all layers, where they are counted
  absl::Duration total;
  Timings timings;  // what was not reached is zero
};

// A gRPC call that has ended, of whatever method.
struct CallEvent {
  RequestOrigin origin;
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string error;  // as in RequestEvent
  absl::Duration duration;
};

// Named events of the engine and of the doors in front of it. Observers watch, they do not steer.
// How things stand is no event: whoever wants to know asks for the EngineStatus.
//
// Threads: OnStep, OnStepFailed, OnTokens and OnTurn from a worker's thread, the others from any;
// implementations must be safe from many threads and must not block.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void OnStep(const StepEvent& event) {}
  // Nothing of a step is usable: its requests end, without being told why.
  virtual void OnStepFailed(const absl::Status& status) {}
  // From the worker's thread or, when that hangs, another one.
  virtual void OnWorkerState(const WorkerEvent& event) {}
  // Before the end of the requests that got them is told.
  virtual void OnTokens(const TokensEvent& event) {}
  virtual void OnTurn(const TurnEvent& event) {}
  // Requests that were refused at the door and those that ended, with their final code.
  virtual void OnRequestDone(const RequestEvent& event) {}
  // After OnRequestDone of the requests that came with it, if any did.
  virtual void OnCallDone(const CallEvent& event) {}
};

// One observer that tells many, in order, so that metrics, logs and others can each watch. All must
// outlive it.
class ObserverFanOut final : public EngineObserver {
 public:
  explicit ObserverFanOut(std::vector<EngineObserver*> observers)
      : observers_(std::move(observers)) {}

  void OnStep(const StepEvent& event) override {
    for (EngineObserver* observer : observers_) observer->OnStep(event);
  }
  void OnStepFailed(const absl::Status& status) override {
    for (EngineObserver* observer : observers_) observer->OnStepFailed(status);
  }
  void OnWorkerState(const WorkerEvent& event) override {
    for (EngineObserver* observer : observers_) observer->OnWorkerState(event);
  }
  void OnTokens(const TokensEvent& event) override {
    for (EngineObserver* observer : observers_) observer->OnTokens(event);
  }
  void OnTurn(const TurnEvent& event) override {
    for (EngineObserver* observer : observers_) observer->OnTurn(event);
  }
  void OnRequestDone(const RequestEvent& event) override {
    for (EngineObserver* observer : observers_) observer->OnRequestDone(event);
  }
  void OnCallDone(const CallEvent& event) override {
    for (EngineObserver* observer : observers_) observer->OnCallDone(event);
  }

 private:
  const std::vector<EngineObserver*> observers_;
};

}  // namespace peerage
