#include "tests/unit/rpc/test_server.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace peerage {

void CountingObserver::OnRequestDone(const RequestEvent& event) {
  absl::MutexLock lock(&mu_);
  ++counts_[{event.kind, event.code}];
  requests_.push_back(event);
}

void CountingObserver::OnCallDone(const CallEvent& event) {
  absl::MutexLock lock(&mu_);
  calls_.push_back(event);
}

std::vector<CallEvent> CountingObserver::calls() const {
  absl::MutexLock lock(&mu_);
  return calls_;
}

std::vector<RequestEvent> CountingObserver::requests() const {
  absl::MutexLock lock(&mu_);
  return requests_;
}

int CountingObserver::count(RequestKind kind, absl::StatusCode code) const {
  absl::MutexLock lock(&mu_);
  const auto found = counts_.find({kind, code});
  return found == counts_.end() ? 0 : found->second;
}

RawAnswer CallRaw(std::shared_ptr<grpc::Channel> channel, const std::string& method,
                  const std::string& message) {
  grpc::GenericStub stub(std::move(channel));
  const grpc::Slice slice(message);
  const grpc::ByteBuffer bytes(&slice, 1);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, method, bytes, &queue);
  call->StartCall();
  RawAnswer answer;
  call->Finish(&answer.bytes, &answer.status, nullptr);
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);
  return answer;
}

TestServer::TestServer(const TestServerOptions& options) {
  log_ = std::make_unique<Log>(LogOptions(), &clock_, &log_text_);
  auto model = std::make_unique<FakeModel>(options.model);
  model_ = model.get();
  statistics_ = std::make_unique<ExpertStatistics>(options.expert_usage, model_, clock_.Now());
  EngineObserver* const observer = options.observer != nullptr ? options.observer : &observer_;
  EngineOptions engine_options = options.engine;
  engine_options.every_turn = [this](int, absl::Time now) { statistics_->Advance(now); };
  engine_ =
      std::make_unique<Engine>(engine_options, std::move(model), &tokenizer_, &clock_, observer);
  expert_usage_ = std::make_unique<ExpertUsageReader>(
      ExpertUsageParts{engine_.get(), {statistics_.get()}, &sums_, &clock_});
  absl::StatusOr<std::unique_ptr<RpcServer>> rpc =
      RpcServer::Start({.listen = {"127.0.0.1", 0},
                        .door = options.door,
                        .model_name = "fake",
                        .version = "1.2.3",
                        .trace_limits = options.trace_limits,
                        .texts = options.texts,
                        .slow_readers = options.slow_readers,
                        .log_content = options.log_content},
                       {.engine = engine_.get(),
                        .tokenizer = &tokenizer_,
                        .clock = &clock_,
                        .observer = observer,
                        .expert_usage = expert_usage_.get(),
                        .answers = &answers_,
                        .authorizer = options.authorizer,
                        .log = log_.get()});
  if (!rpc.ok()) ADD_FAILURE() << rpc.status();
  rpc_ = *std::move(rpc);
  const std::shared_ptr<grpc::Channel> channel = rpc_->InProcessChannel();
  inference_ = v1::InferenceService::NewStub(channel);
  models_ = v1::ModelService::NewStub(channel);
  experts_ = v1::ExpertService::NewStub(channel);
  // Some of its calls depend on where they come from, which in-process calls do not tell.
  admin_ = v1::AdminService::NewStub(
      grpc::CreateChannel(rpc_->address().ToString(), grpc::InsecureChannelCredentials()));
}

TestServer::~TestServer() {
  rpc_.reset();
  engine_->Stop();
}

std::string TestServer::EndAndReadLog() {
  rpc_.reset();
  log_.reset();
  return log_text_.str();
}

void TestServer::AwaitIdle() {
  EngineStatus status = engine_->status();
  while (status.requests_running + status.requests_waiting > 0) {
    std::this_thread::yield();
    status = engine_->status();
  }
  EXPECT_EQ(status.kv_blocks_free, status.kv_blocks_total);
}

void TestServer::ExpectHealthy() {
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = inference_->Generate(&context, GreedyRequest(1), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

v1::GenerateRequest GreedyRequest(uint32_t max_tokens) {
  v1::GenerateRequest request;
  request.mutable_prompt()->set_text("ab");
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_max_tokens(max_tokens);
  request.mutable_stopping()->set_ignore_eos(true);
  return request;
}

v1::ScoreRequest SmallScoreRequest() {
  v1::ScoreRequest request;
  request.mutable_context()->set_text("ab");
  request.add_continuations()->set_text("cd");
  return request;
}

std::vector<std::string> ViolatedFields(const grpc::Status& status) {
  std::vector<std::string> fields;
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  for (const auto& detail : details.details()) {
    google::rpc::BadRequest bad_request;
    if (!detail.UnpackTo(&bad_request)) continue;
    for (const auto& violation : bad_request.field_violations()) {
      fields.push_back(violation.field());
    }
  }
  return fields;
}

std::string ErrorReason(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::ErrorInfo info;
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info)) break;
  }
  return info.reason();
}

}  // namespace peerage
