#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/engine.h"
#include "server/engine/response_sink.h"
#include "server/rpc/backend.h"
#include "server/rpc/content_log.h"
#include "server/rpc/reactors.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/trace_answer.h"

namespace peerage {

// How every request of a client starts and ends in the engine, whatever its kind and however it is
// answered: it is submitted or refused, it may be cancelled at any moment, its expert trace is
// gathered and becomes a message behind the worker's back.
//
// Threads: the engine calls from its worker's thread, gRPC from its own. The object must live until
// both have let go of it.
class EngineCall : public ResponseSink {
 public:
  // A refusal ends the call. `self` is this object.
  template <typename Request>
  void Submit(Request request, std::shared_ptr<ResponseSink> self) {
    trace_ = TraceAnswer(request.trace, backend_.model->description.expert_layers);
    if (backend_.log_content) self = LogContent(request, backend_, std::move(self));
    const absl::StatusOr<RequestHandle> handle =
        backend_.engine->Submit(std::move(request), std::move(self));
    if (handle.ok()) {
      Accepted(*handle);
    } else {
      Refused(handle.status());
    }
  }

  // The call may be cancelled before Submit has returned the handle that the engine needs.
  void CancelRequest() ABSL_LOCKS_EXCLUDED(mu_) {
    std::optional<RequestHandle> handle;
    {
      absl::MutexLock lock(&mu_);
      cancelled_ = true;
      handle = handle_;
    }
    if (handle.has_value()) backend_.engine->Cancel(*handle);
  }

  // ResponseSink:
  void OnStarted() override {}
  void OnPromptTrace(ExpertTrace trace) override { trace_.AddPrompt(std::move(trace)); }

 protected:
  explicit EngineCall(const Backend& backend)
      : backend_(backend), trace_(ExpertTraceLevel::kNone, {}) {}

  // The engine has not taken the request, and will not call.
  virtual void Refused(const absl::Status& status) = 0;

  // Runs a part of the answer: at once, or where traces are made, in the order of the calls.
  void Answer(std::function<void()> part) {
    if (!trace_.wanted()) return part();
    backend_.answers->Run(std::move(part));
  }

  const Backend& backend() const { return backend_; }
  TraceAnswer& trace() { return trace_; }

 private:
  void Accepted(RequestHandle handle) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      handle_ = handle;
      if (!cancelled_) return;
    }
    backend_.engine->Cancel(handle);
  }

  const Backend backend_;
  TraceAnswer trace_;  // the engine's alone, then the answering lane's

  absl::Mutex mu_;
  std::optional<RequestHandle> handle_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

// Starts a call that gRPC waits for: makes its object, a SharedReactor and an EngineCall, of the
// arguments, and submits the request.
template <typename Call, typename Request, typename... Arguments>
Call* StartCall(Request request, const Backend& backend, Arguments&&... arguments) {
  const auto call = Held(new Call(backend, std::forward<Arguments>(arguments)...));
  call->Submit(std::move(request), call);
  return call.get();
}

// Tells the observer of a request that never reaches the engine, so that its counts by code are
// complete: the engine tells of the others.
template <typename Request>
absl::StatusOr<Request> TellRefusal(absl::StatusOr<Request> read, const Call& call,
                                    const Backend& backend) {
  if (!read.ok()) {
    backend.observer->OnRequestDone({.kind = Request::kKind,
                                     .origin = call.origin,
                                     .code = read.status().code(),
                                     .error = std::string(read.status().message()),
                                     .total = backend.clock->Now() - call.arrival});
  }
  return read;
}

}  // namespace peerage
