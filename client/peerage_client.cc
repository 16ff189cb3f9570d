#include "client/peerage_client.h"

#include <algorithm>
#include <thread>

#include "base/status_macros.h"
#include "client/call_status.h"
#include "client/channel.h"

namespace peerage::client {
namespace {

// Hands messages on until there are no more, or the receiver wants none.
template <typename Stream, typename Message>
absl::Status ReadAll(Stream& stream, Message message,
                     absl::FunctionRef<bool(const Message&)> receive,
                     grpc::ClientContext& context) {
  while (stream.Read(&message)) {
    if (receive(message)) continue;
    context.TryCancel();
    stream.Finish();
    return absl::OkStatus();
  }
  return FromGrpcStatus(stream.Finish());
}

}  // namespace

// One call's ClientContext, which Cancel() knows while the call runs.
class Client::Call {
 public:
  explicit Call(Client* client) : Call(client, client->NewDeadline()) {}

  Call(Client* client, absl::Time deadline) : client_(client) {
    if (deadline != absl::InfiniteFuture()) context_.set_deadline(absl::ToChronoTime(deadline));
    AddToken(client->options_.credentials, context_);
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

Client::Client(const ClientOptions& options)
    : Client(options, Connect(options.server, options.credentials)) {}

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
    absl::FunctionRef<bool(const v1::GenerateStreamResponse&)> on_event, absl::Time deadline) {
  Call call(this, deadline);
  const auto reader = inference_->GenerateStream(call.context(), request);
  return ReadAll(*reader, v1::GenerateStreamResponse(), on_event, *call.context());
}

absl::StatusOr<v1::ScoreResponse> Client::Score(const v1::ScoreRequest& request) {
  return Unary(*inference_, &v1::InferenceService::Stub::Score, request);
}

absl::Status Client::ScoreStream(
    absl::FunctionRef<bool(v1::ScoreStreamRequest&)> next,
    absl::FunctionRef<bool(const v1::ScoreStreamResponse&)> on_answer) {
  Call call(this);
  const auto stream = inference_->ScoreStream(call.context());
  // The server takes only so many before it has answered: reading must not wait for writing.
  std::thread writer([&stream, next] {
    v1::ScoreStreamRequest request;
    while (next(request) && stream->Write(request)) {
    }
    stream->WritesDone();
  });
  v1::ScoreStreamResponse answer;
  bool wanted = true;
  while (wanted && stream->Read(&answer)) wanted = on_answer(answer);
  if (!wanted) call.context()->TryCancel();
  writer.join();
  const absl::Status status = FromGrpcStatus(stream->Finish());
  return wanted ? status : absl::OkStatus();
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
  return ReadAll(*reader, v1::WatchExpertSummaryResponse(), on_summary, *call.context());
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

absl::Time Client::NewDeadline() const { return absl::Now() + options_.timeout; }

bool Client::Sleep(absl::Duration duration) {
  absl::MutexLock lock(&mu_);
  return !mu_.AwaitWithTimeout(absl::Condition(&cancelled_), duration);
}

bool Client::CancelRunning() {
  absl::MutexLock lock(&mu_);
  for (grpc::ClientContext* context : running_) context->TryCancel();
  return !running_.empty();
}

void Client::Cancel() {
  {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
  }
  CancelRunning();
}

}  // namespace peerage::client
