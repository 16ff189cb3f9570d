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
#include "server/rpc/hidden_answer.h"
#include "server/rpc/reactors.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/trace_answer.h"

namespace peerage {

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

// How every request of a client starts and ends in the engine, whatever its kind and however it is
// answered: it is read and submitted, or refused, it may be cancelled at any moment, its expert
// trace and hidden states are gathered and become messages behind the worker's back.
//
// Threads: it is read where texts are read; then the engine calls from its worker's thread, gRPC
// from its own. The object must live until all have let go of it.
class EngineCall : public ResponseSink {
 public:
  // Reads the request and submits it, unless it has no `turn`, nobody waits for it any more, or
  // there is no room for its answer. A refusal ends the call. `self` is this object; its Read()
  // returns what the engine will run.
  template <typename Derived>
  void ReadAndSubmit(absl::Status turn, std::shared_ptr<Derived> self) {
    turn.Update(CheckWanted(call_, cancelled(), backend_.clock->Now()));
    turn.Update(backend_.readers->CheckRoom());
    auto request = turn.ok() ? self->Read() : decltype(self->Read())(turn);
    request = TellRefusal(std::move(request), call_, backend_);
    if (!request.ok()) return Refused(request.status());
    Submit(*std::move(request), std::move(self));
  }

  // It was not let in, or is refused for what it says outside its message.
  bool is_refused() const { return !call_.status.ok(); }
  std::string caller() const { return CallerOf(call_); }

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
  void OnStarted(uint32_t cached_tokens) override { trace_.SetCached(cached_tokens); }
  void OnPromptTrace(ExpertTrace trace) override {
    AddTrace([this, trace = std::move(trace)]() mutable { trace_.AddPrompt(std::move(trace)); });
  }
  void OnHiddenStates(HiddenStates states) override { hidden_.Add(std::move(states)); }

 protected:
  EngineCall(const Backend& backend, Call call)
      : backend_(backend), call_(std::move(call)), trace_(ExpertTraceLevel::kNone, {}) {}

  // The engine has not taken the request, and will not call.
  virtual void Refused(const absl::Status& status) = 0;

  // Runs a part of the answer: at once, or where large ones are made, in the order of the calls.
  void Answer(std::function<void()> part) {
    if (!trace_.wanted() && !hidden_.wanted()) return part();
    backend_.answers->Run(std::move(part));
  }

  // To be called with every part's, before it is Answered. It becomes sums behind the worker's
  // back.
  void AddPartTrace(uint32_t part, ExpertTrace trace) {
    AddTrace([this, part, trace = std::move(trace)]() mutable {
      trace_.AddPart(part, std::move(trace));
    });
  }

  // To be called by Read: the trace tells of the message's control.
  template <typename Message>
  void KeepControl(const Message& message) {
    if (message.has_expert_control()) control_ = message.expert_control();
  }

  const Backend& backend() const { return backend_; }
  const Call& call() const { return call_; }
  TraceAnswer& trace() { return trace_; }
  HiddenAnswer& hidden() { return hidden_; }

 private:
  // The call is alive when its turn comes: its end is answered behind this.
  void AddTrace(std::function<void()> add) {
    if (trace_.wanted()) Answer(std::move(add));
  }

  template <typename Request>
  void Submit(Request request, std::shared_ptr<ResponseSink> self) {
    const ModelDescription& model = backend_.model->description;
    trace_ = TraceAnswer(request.trace, model.expert_layers, std::exchange(control_, std::nullopt));
    hidden_ = HiddenAnswer(request.hidden_states.layers, model.hidden_size);
    if (backend_.log_content) self = LogContent(request, backend_, std::move(self));
    const absl::StatusOr<RequestHandle> handle =
        backend_.engine->Submit(std::move(request), std::move(self));
    if (handle.ok()) {
      Accepted(*handle);
    } else {
      Refused(handle.status());
    }
  }

  bool cancelled() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return cancelled_;
  }

  void Accepted(RequestHandle handle) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      handle_ = handle;
      if (!cancelled_) return;
    }
    backend_.engine->Cancel(handle);
  }

  const Backend backend_;
  const Call call_;
  std::optional<v1::ExpertControl> control_;  // of the message, from Read to Submit
  TraceAnswer trace_;    // the engine's until its first part, then the answering lane's
  HiddenAnswer hidden_;  // the engine's alone, then the answering lane's

  mutable absl::Mutex mu_;
  std::optional<RequestHandle> handle_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

// Starts a call that gRPC waits for: makes its object, a SharedReactor and an EngineCall, of the
// arguments, and has its message of so many bytes read.
template <typename Call, typename... Arguments>
Call* StartCall(const Backend& backend, size_t bytes, Arguments&&... arguments) {
  const auto call = Held(new Call(backend, std::forward<Arguments>(arguments)...));
  if (call->is_refused()) bytes = 0;  // of which nothing is read: it takes nobody's turn
  backend.texts->Run(call->caller(), bytes,
                     [call](const absl::Status& turn) { call->ReadAndSubmit(turn, call); });
  return call.get();
}

}  // namespace peerage
