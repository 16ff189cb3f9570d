#pragma once

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/engine.h"

namespace peerage {

// Joins a call with the request that it submits: the call may be cancelled before Submit has
// returned the handle that Engine::Cancel needs.
//
// Threads: safe from many.
class SubmittedRequest {
 public:
  explicit SubmittedRequest(Engine* engine) : engine_(engine) {}

  // The engine has accepted the request.
  void Accepted(RequestHandle handle) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      handle_ = handle;
      if (!cancelled_) return;
    }
    engine_->Cancel(handle);
  }

  void Cancel() ABSL_LOCKS_EXCLUDED(mu_) {
    std::optional<RequestHandle> handle;
    {
      absl::MutexLock lock(&mu_);
      cancelled_ = true;
      handle = handle_;
    }
    if (handle.has_value()) engine_->Cancel(*handle);
  }

 private:
  Engine* const engine_;
  absl::Mutex mu_;
  std::optional<RequestHandle> handle_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace peerage
