#pragma once

#include "server/engine/observer.h"
#include "server/log/log.h"

namespace peerage {

// A line for every request of the engine that has ended or was refused ("request"), and for every
// call that comes without one ("call"): docs/logs.md lists their fields. Neither has anything of
// what a request holds. And a line for every step of the model that failed, with the reason, which
// its requests are not told; and one ("worker") for every change of a worker's state.
//
// Threads: safe from many threads; nothing waits.
class RequestLog final : public EngineObserver {
 public:
  // `log` must outlive it.
  explicit RequestLog(Log* log) : log_(log) {}

  void OnRequestDone(const RequestEvent& event) override;
  void OnCallDone(const CallEvent& event) override;
  void OnStepFailed(const absl::Status& status) override;
  void OnWorkerState(const WorkerEvent& event) override;
  void OnTurn(const TurnEvent& event) override { log_->TellLeftOut(); }

 private:
  Log* const log_;
};

}  // namespace peerage
