#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/credentials.h"
#include "client/expert_usage.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "peerage/v1/experts.grpc.pb.h"
#include "peerage/v1/inference.grpc.pb.h"
#include "peerage/v1/models.grpc.pb.h"

namespace peerage::client {

struct ClientOptions {
  std::string server = "127.0.0.1:50051";             // any gRPC target
  absl::Duration timeout = absl::InfiniteDuration();  // of each call
  Credentials credentials = {};
};

// A peerage server's RPCs as blocking calls. Errors carry the server's code and message; its error
// details are payloads (client/call_status.h).
//
// Threads: safe from many threads. Connects with the first call.
class Client {
 public:
  using HealthStatus = grpc::health::v1::HealthCheckResponse::ServingStatus;

  explicit Client(const ClientOptions& options);

  absl::StatusOr<v1::GenerateResponse> Generate(const v1::GenerateRequest& request);

  // Calls `on_event` with every message, in order, from the calling thread, until it returns false.
  absl::Status GenerateStream(const v1::GenerateStreamRequest& request,
                              absl::FunctionRef<bool(const v1::GenerateStreamResponse&)> on_event) {
    return GenerateStream(request, on_event, NewDeadline());
  }
  // The same with a deadline of its own.
  absl::Status GenerateStream(const v1::GenerateStreamRequest& request,
                              absl::FunctionRef<bool(const v1::GenerateStreamResponse&)> on_event,
                              absl::Time deadline);

  absl::StatusOr<v1::ScoreResponse> Score(const v1::ScoreRequest& request);
  // Calls `on_answer` with every answer, in any order, from the calling thread, until it returns
  // false. `next` gives the requests from a thread of its own, and false after the last one.
  absl::Status ScoreStream(absl::FunctionRef<bool(v1::ScoreStreamRequest&)> next,
                           absl::FunctionRef<bool(const v1::ScoreStreamResponse&)> on_answer);
  absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request);
  absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request);
  absl::StatusOr<v1::ListModelsResponse> ListModels();
  absl::StatusOr<v1::GetServerStatusResponse> GetServerStatus();
  absl::StatusOr<v1::SetLogLevelResponse> SetLogLevel(const v1::SetLogLevelRequest& request);

  // The whole of one layer's usage. DATA_LOSS when the chunks do not fit the header.
  absl::StatusOr<ExpertUsage> GetExpertUsage(const v1::GetExpertUsageRequest& request);
  // Calls `on_summary` with every message until it returns false.
  absl::Status WatchExpertSummary(
      const v1::WatchExpertSummaryRequest& request,
      absl::FunctionRef<bool(const v1::WatchExpertSummaryResponse&)> on_summary);
  absl::Status ResetExpertUsage(const v1::ResetExpertUsageRequest& request);

  // grpc.health.v1: "" asks whether the server is alive, a model's name whether it serves.
  absl::StatusOr<HealthStatus> CheckHealth(const std::string& service);

  // When a call that begins now has to be answered.
  absl::Time NewDeadline() const;
  // False when Cancel ends it.
  bool Sleep(absl::Duration duration);

  // Ends the calls that run with CANCELLED. Returns whether there were any.
  bool CancelRunning();
  // Ends the calls that run, and every later one, with CANCELLED.
  void Cancel();

 private:
  class Call;

  template <typename Stub, typename Request, typename Response>
  using UnaryMethod = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

  Client(const ClientOptions& options, const std::shared_ptr<grpc::Channel>& channel);

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Unary(Stub& stub, UnaryMethod<Stub, Request, Response> method,
                                 const Request& request);

  const ClientOptions options_;
  const std::unique_ptr<v1::InferenceService::Stub> inference_;
  const std::unique_ptr<v1::ModelService::Stub> models_;
  const std::unique_ptr<v1::ExpertService::Stub> experts_;
  const std::unique_ptr<v1::AdminService::Stub> admin_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> health_;

  absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<grpc::ClientContext*> running_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage::client
