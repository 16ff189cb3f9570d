#include "client/peerage_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>

#include "base/status_macros.h"
#include "client/call_status.h"

namespace peerage::client {
namespace {

std::shared_ptr<grpc::Channel> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  // A score of many continuations is larger than gRPC's default of 4 MiB.
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetUserAgentPrefix("peerage/" PEERAGE_VERSION);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

// One call's ClientContext, which Cancel() knows while the call runs.
class Client::Call {
 public:
  explicit Call(Client* client) : client_(client) {
    if (client->options_.timeout != absl::InfiniteDuration()) {
      context_.set_deadline(absl::ToChronoTime(absl::Now() + client->options_.timeout));
    }
    absl::MutexLock lock(&client->mu_);
    if (client->cancelled_) context_.TryCancel();
    client->running_.push_back(&context_);
  }

  ~Call() {
    absl::MutexLock lock(&client_->mu_);
    auto& running = client_->running_;
    running.erase(std::find(running.begin(), running.end(), &context_));
  }

  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext* context() { return &context_; }

 private:
  Client* const client_;
  grpc::ClientContext context_;
};

Client::Client(const ClientOptions& options) : Client(options, Connect(options.server)) {}

Client::Client(const ClientOptions& options, const std::shared_ptr<grpc::Channel>& channel)
    : options_(options),
      inference_(v1::InferenceService::NewStub(channel)),
      models_(v1::ModelService::NewStub(channel)),
      experts_(v1::ExpertService::NewStub(channel)),
      admin_(v1::AdminService::NewStub(channel)),
      health_(grpc::health::v1::Health::NewStub(channel)) {}

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Client::Unary(Stub& stub, UnaryMethod<Stub, Request, Response> method,
                                       const Request& request) {
  Call call(this);
  Response response;
  const grpc::Status status = (stub.*method)(call.context(), request, &response);
  if (!status.ok()) return FromGrpcStatus(status);
  return response;
}

absl::StatusOr<v1::GenerateResponse> Client::Generate(const v1::GenerateRequest& request) {
  return Unary(*inference_, &v1::InferenceService::Stub::Generate, request);
}

absl::Status Client::GenerateStream(
    const v1::GenerateStreamRequest& request,
    absl::FunctionRef<void(const v1::GenerateStreamResponse&)> on_event) {
  Call call(this);
  const auto reader = inference_->GenerateStream(call.context(), request);
  v1::GenerateStreamResponse response;
  while (reader->Read(&response)) on_event(response);
  return FromGrpcStatus(reader->Finish());
}

absl::StatusOr<v1::ScoreResponse> Client::Score(const v1::ScoreRequest& request) {
  return Unary(*inference_, &v1::InferenceService::Stub::Score, request);
}

absl::StatusOr<v1::TokenizeResponse> Client::Tokenize(const v1::TokenizeRequest& request) {
  return Unary(*inference_, &v1::InferenceService::Stub::Tokenize, request);
}

absl::StatusOr<v1::DetokenizeResponse> Client::Detokenize(const v1::DetokenizeRequest& request) {
  return Unary(*inference_, &v1::InferenceService::Stub::Detokenize, request);
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels() {
  return Unary(*models_, &v1::ModelService::Stub::ListModels, v1::ListModelsRequest());
}

absl::StatusOr<v1::GetServerStatusResponse> Client::GetServerStatus() {
  return Unary(*admin_, &v1::AdminService::Stub::GetServerStatus, v1::GetServerStatusRequest());
}

absl::StatusOr<v1::SetLogLevelResponse> Client::SetLogLevel(const v1::SetLogLevelRequest& request) {
  return Unary(*admin_, &v1::AdminService::Stub::SetLogLevel, request);
}

absl::StatusOr<ExpertUsage> Client::GetExpertUsage(const v1::GetExpertUsageRequest& request) {
  Call call(this);
  const auto reader = experts_->GetExpertUsage(call.context(), request);
  ExpertUsage usage;
  absl::Status added;
  v1::GetExpertUsageResponse response;
  while (reader->Read(&response)) added.Update(usage.Add(response));
  RETURN_IF_ERROR(FromGrpcStatus(reader->Finish()));
  added.Update(usage.CheckComplete());
  RETURN_IF_ERROR(added);
  return usage;
}

absl::Status Client::WatchExpertSummary(
    const v1::WatchExpertSummaryRequest& request,
    absl::FunctionRef<bool(const v1::WatchExpertSummaryResponse&)> on_summary) {
  Call call(this);
  const auto reader = experts_->WatchExpertSummary(call.context(), request);
  v1::WatchExpertSummaryResponse response;
  while (reader->Read(&response)) {
    if (on_summary(response)) continue;
    call.context()->TryCancel();
    reader->Finish();
    return absl::OkStatus();
  }
  return FromGrpcStatus(reader->Finish());
}

absl::Status Client::ResetExpertUsage(const v1::ResetExpertUsageRequest& request) {
  return Unary(*experts_, &v1::ExpertService::Stub::ResetExpertUsage, request).status();
}

absl::StatusOr<Client::HealthStatus> Client::CheckHealth(const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  const auto response = Unary(*health_, &grpc::health::v1::Health::Stub::Check, request);
  if (!response.ok()) return response.status();
  return response->status();
}

void Client::Cancel() {
  absl::MutexLock lock(&mu_);
  cancelled_ = true;
  for (grpc::ClientContext* context : running_) context->TryCancel();
}

}  // namespace peerage::client
