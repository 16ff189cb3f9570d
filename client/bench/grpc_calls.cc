#include "client/bench/grpc_calls.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/call_status.h"
#include "client/channel.h"
#include "peerage/v1/inference.grpc.pb.h"

namespace peerage::client {
namespace {

using Stub = v1::InferenceService::Stub;

// The calls that run, so that all of them can be ended at once.
class RunningCalls {
 public:
  void Add(grpc::ClientContext& context) {
    absl::MutexLock lock(&mu_);
    if (cancelled_) context.TryCancel();
    contexts_.insert(&context);
  }

  void Remove(grpc::ClientContext& context) {
    absl::MutexLock lock(&mu_);
    contexts_.erase(&context);
  }

  void Cancel() {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
  }

 private:
  absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mu_);
};

// One call that runs: what is known of it so far, and whom to tell.
class RunningCall {
 public:
  RunningCall(const DueCall& call, const RunClock& clock, Calls::Done done, RunningCalls& running)
      : record_{.begun = call, .sent = clock.Now()},
        clock_(clock),
        done_(std::move(done)),
        running_(running) {
    running_.Add(context_);
  }

  grpc::ClientContext& context() { return context_; }
  CallRecord& record() { return record_; }
  absl::Duration Now() const { return clock_.Now(); }

  // The last thing that happens, with all of the call gone: who hears of the last one's end may end
  // the process.
  static void End(std::unique_ptr<RunningCall> call, const grpc::Status& status) {
    call->running_.Remove(call->context_);
    CallRecord record = std::move(call->record_);
    record.ended = call->clock_.Now();
    record.status = FromGrpcStatus(status);
    const Calls::Done done = std::move(call->done_);
    call.reset();
    done(std::move(record));
  }

 private:
  grpc::ClientContext context_;
  CallRecord record_;
  const RunClock& clock_;
  Calls::Done done_;
  RunningCalls& running_;
};

// Reads a stream to its end.
class GenerateStreamReader : public grpc::ClientReadReactor<v1::GenerateStreamResponse> {
 public:
  GenerateStreamReader(std::unique_ptr<RunningCall> call, v1::GenerateRequest request,
                       bool keep_text)
      : call_(std::move(call)), last_(call_->record().begun.intended), keep_text_(keep_text) {
    *request_.mutable_request() = std::move(request);
  }

  void Start(Stub& stub) {
    stub.async()->GenerateStream(&call_->context(), &request_, this);
    StartRead(&event_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    Add(event_);
    StartRead(&event_);
  }

  void OnDone(const grpc::Status& status) override {
    std::unique_ptr<RunningCall> call = std::move(call_);
    const grpc::Status result = status;  // gRPC's may live in what is deleted
    delete this;
    RunningCall::End(std::move(call), result);
  }

 private:
  void Add(const v1::GenerateStreamResponse& event) {
    CallRecord& record = call_->record();
    if (event.has_started()) record.prompt_tokens = event.started().prompt_tokens();
    if (event.has_finished()) {
      record.cached_prompt_tokens += event.finished().usage().cached_prompt_tokens();
    }
    const v1::Delta& delta = event.delta();
    if (delta.token_ids().empty()) return;
    const absl::Duration now = call_->Now();
    const auto tokens = static_cast<uint32_t>(delta.token_ids_size());
    record.arrived.push_back({static_cast<float>(absl::ToDoubleSeconds(now - last_)), tokens});
    record.output_tokens += tokens;
    if (keep_text_) record.text += delta.text();
    last_ = now;
  }

  std::unique_ptr<RunningCall> call_;
  absl::Duration last_;
  const bool keep_text_;
  v1::GenerateStreamRequest request_;
  v1::GenerateStreamResponse event_;
};

// What a Score needs for as long as it runs.
struct RunningScore {
  std::unique_ptr<RunningCall> call;
  v1::ScoreRequest request;
  v1::ScoreResponse response;
};

void StartScore(std::unique_ptr<RunningCall> call, v1::ScoreRequest request, Stub& stub) {
  auto* score = new RunningScore{.call = std::move(call), .request = std::move(request)};
  const auto end = [score](const grpc::Status& status) {
    CallRecord& record = score->call->record();
    record.prompt_tokens = score->response.usage().prompt_tokens();
    record.cached_prompt_tokens = score->response.usage().cached_prompt_tokens();
    record.output_tokens = score->response.usage().completion_tokens();
    record.items = static_cast<uint32_t>(score->response.scores_size());
    const absl::Duration taken = score->call->Now() - record.begun.intended;
    if (record.output_tokens > 0) {  // all with the answer
      record.arrived.push_back(
          {static_cast<float>(absl::ToDoubleSeconds(taken)), record.output_tokens});
    }
    std::unique_ptr<RunningCall> ended = std::move(score->call);
    delete score;
    RunningCall::End(std::move(ended), status);
  };
  stub.async()->Score(&score->call->context(), &score->request, &score->response, end);
}

// What both kinds have in common: connections, and how a call begins.
class GrpcCalls : public Calls {
 public:
  GrpcCalls(const GrpcCallsOptions& options, const Workload& workload)
      : options_(options), workload_(workload) {
    for (int i = 0; i < std::max(options.connections, 1); ++i) {
      stubs_.push_back(v1::InferenceService::NewStub(
          Connect(options.server, options.credentials, Connection::kOwn)));
    }
  }

  void Start(const DueCall& call, const RunClock& clock, Done done) override {
    auto running = std::make_unique<RunningCall>(call, clock, std::move(done), running_);
    AddToken(options_.credentials, running->context());
    if (options_.timeout != absl::InfiniteDuration()) {
      running->context().set_deadline(absl::ToChronoTime(absl::Now() + options_.timeout));
    }
    Send(std::move(running), *stubs_[next_++ % stubs_.size()]);
  }

  void Cancel() override { running_.Cancel(); }

 protected:
  virtual void Send(std::unique_ptr<RunningCall> call, Stub& stub) = 0;

  const GrpcCallsOptions options_;
  const Workload& workload_;

 private:
  std::vector<std::unique_ptr<Stub>> stubs_;
  std::atomic<size_t> next_ = 0;
  RunningCalls running_;
};

class GenerateCalls : public GrpcCalls {
 public:
  using GrpcCalls::GrpcCalls;

 private:
  void Send(std::unique_ptr<RunningCall> call, Stub& stub) override {
    v1::GenerateRequest request = workload_.Generate(call->record().begun.call);
    // Deletes itself at its end.
    auto* reader =
        new GenerateStreamReader(std::move(call), std::move(request), options_.keep_text);
    reader->Start(stub);
  }
};

class ScoreCalls : public GrpcCalls {
 public:
  using GrpcCalls::GrpcCalls;

 private:
  void Send(std::unique_ptr<RunningCall> call, Stub& stub) override {
    v1::ScoreRequest request = workload_.Score(call->record().begun.call);
    StartScore(std::move(call), std::move(request), stub);
  }
};

}  // namespace

std::unique_ptr<Calls> MakeGenerateCalls(const GrpcCallsOptions& options,
                                         const Workload& workload) {
  return std::make_unique<GenerateCalls>(options, workload);
}

std::unique_ptr<Calls> MakeScoreCalls(const GrpcCallsOptions& options, const Workload& workload) {
  return std::make_unique<ScoreCalls>(options, workload);
}

}  // namespace peerage::client
