#pragma once

#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/observer.h"

namespace peerage {

// Keeps every event. Threads: safe from many.
class RecordingObserver final : public EngineObserver {
 public:
  void OnStep(const StepEvent& event) override {
    absl::MutexLock lock(&mu_);
    steps_.push_back(event);
  }
  void OnStepFailed(const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    failures_.push_back(status);
  }
  void OnWorkerState(const WorkerEvent& event) override {
    absl::MutexLock lock(&mu_);
    worker_events_.push_back(event);
  }
  void OnTokens(const TokensEvent& event) override {
    absl::MutexLock lock(&mu_);
    tokens_.push_back(event);
  }
  void OnRequestDone(const RequestEvent& event) override {
    absl::MutexLock lock(&mu_);
    requests_.push_back(event);
  }

  std::vector<StepEvent> steps() const {
    absl::MutexLock lock(&mu_);
    return steps_;
  }
  std::vector<absl::Status> failures() const {
    absl::MutexLock lock(&mu_);
    return failures_;
  }
  // All of them, as soon as there are so many.
  std::vector<WorkerEvent> AwaitWorkerEvents(size_t count) const {
    absl::MutexLock lock(&mu_);
    const auto are_there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return worker_events_.size() >= count;
    };
    mu_.Await(absl::Condition(&are_there));
    return worker_events_;
  }
  std::vector<TokensEvent> tokens() const {
    absl::MutexLock lock(&mu_);
    return tokens_;
  }
  std::vector<RequestEvent> requests() const {
    absl::MutexLock lock(&mu_);
    return requests_;
  }

 private:
  mutable absl::Mutex mu_;
  std::vector<StepEvent> steps_ ABSL_GUARDED_BY(mu_);
  std::vector<absl::Status> failures_ ABSL_GUARDED_BY(mu_);
  std::vector<WorkerEvent> worker_events_ ABSL_GUARDED_BY(mu_);
  std::vector<TokensEvent> tokens_ ABSL_GUARDED_BY(mu_);
  std::vector<RequestEvent> requests_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
