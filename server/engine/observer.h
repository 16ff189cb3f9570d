#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace peerage {

enum class RequestKind { kGenerate, kScore };

struct StepEvent {
  absl::Duration duration;
  int32_t prefill_tokens = 0;  // computed for prompts, contexts and continuations
  int32_t decode_tokens = 0;   // computed for generation
  int32_t sequences = 0;
  int32_t requests_running = 0;
  int32_t requests_waiting = 0;
  int32_t kv_blocks_total = 0;
  int32_t kv_blocks_free = 0;
};

struct RequestEvent {
  RequestKind kind = RequestKind::kGenerate;
  absl::StatusCode code = absl::StatusCode::kOk;
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
  absl::Duration total;
  absl::Duration queue;
  absl::Duration time_to_first_token;  // zero when there was none
};

// Named events of the engine. Observers watch, they do not steer.
//
// Threads: OnStep from the worker's thread, the others from any; implementations must be safe from
// many threads and must not block.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void OnStep(const StepEvent& event) {}
  // Requests that were refused at the door and those that ended, with their final code.
  virtual void OnRequestDone(const RequestEvent& event) {}
  // Counts changed without a step: a request came, left or was cancelled.
  virtual void OnQueueChanged(int32_t requests_running, int32_t requests_waiting) {}
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
  void OnRequestDone(const RequestEvent& event) override {
    for (EngineObserver* observer : observers_) observer->OnRequestDone(event);
  }
  void OnQueueChanged(int32_t requests_running, int32_t requests_waiting) override {
    for (EngineObserver* observer : observers_) {
      observer->OnQueueChanged(requests_running, requests_waiting);
    }
  }

 private:
  const std::vector<EngineObserver*> observers_;
};

}  // namespace peerage
