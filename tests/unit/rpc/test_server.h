#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "peerage/v1/experts.grpc.pb.h"
#include "peerage/v1/inference.grpc.pb.h"
#include "peerage/v1/models.grpc.pb.h"
#include "server/engine/engine.h"
#include "server/experts/background_lane.h"
#include "server/experts/expert_usage_reader.h"
#include "server/log/log.h"
#include "server/rpc/rpc_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_model.h"
#include "tests/support/fake_tokenizer.h"

namespace peerage {

// Counts requests by kind and code, keeps them and calls. Threads: safe from many.
class CountingObserver final : public EngineObserver {
 public:
  void OnRequestDone(const RequestEvent& event) override;
  void OnCallDone(const CallEvent& event) override;
  int count(RequestKind kind, absl::StatusCode code) const;
  std::vector<CallEvent> calls() const;
  std::vector<RequestEvent> requests() const;

 private:
  mutable absl::Mutex mu_;
  std::map<std::pair<RequestKind, absl::StatusCode>, int> counts_ ABSL_GUARDED_BY(mu_);
  std::vector<CallEvent> calls_ ABSL_GUARDED_BY(mu_);
  std::vector<RequestEvent> requests_ ABSL_GUARDED_BY(mu_);
};

// A unary call of any method with any bytes.
struct RawAnswer {
  grpc::Status status;
  grpc::ByteBuffer bytes;
};
RawAnswer CallRaw(std::shared_ptr<grpc::Channel> channel, const std::string& method,
                  const std::string& message);

struct TestServerOptions {
  FakeModelOptions model;
  EngineOptions engine;
  ExpertUsageMode expert_usage = ExpertUsageMode::kRecent;
  TraceLimits trace_limits = {.level = ExpertTraceLevel::kFull};
  TextPoolOptions texts;
  // The clock may be ahead of a reader that is as quick as it can.
  SlowReaderLimits slow_readers = {.patience = absl::InfiniteDuration()};
  bool log_content = false;
  bool door = true;
  Authorizer* authorizer = nullptr;    // none: everybody may do everything
  EngineObserver* observer = nullptr;  // instead of the server's own, which keeps every call
};

// The real services on the real engine over a fake model named "fake".
class TestServer {
 public:
  explicit TestServer(const TestServerOptions& options = {});
  ~TestServer();

  v1::InferenceService::Stub& inference() { return *inference_; }
  v1::ModelService::Stub& models() { return *models_; }
  v1::ExpertService::Stub& experts() { return *experts_; }
  v1::AdminService::Stub& admin() { return *admin_; }
  FakeModel& model() { return *model_; }
  FakeClock& clock() { return clock_; }
  Engine& engine() { return *engine_; }
  RpcServer& rpc() { return *rpc_; }
  BackgroundLane& sums() { return sums_; }
  BackgroundLane& answers() { return answers_; }
  const CountingObserver& observer() const { return observer_; }
  Log& log() { return *log_; }
  // Every line of the log, with which it ends, as the server does. Of calls that have ended.
  std::string EndAndReadLog();

  // Waits until no request is in the engine; fails the test when a KV block is missing then.
  void AwaitIdle();
  // A small request goes through.
  void ExpectHealthy();

 private:
  FakeClock clock_;
  FakeTokenizer tokenizer_;
  CountingObserver observer_;
  std::ostringstream log_text_;
  std::unique_ptr<Log> log_;
  FakeModel* model_;  // the engine's
  std::unique_ptr<ExpertStatistics> statistics_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ExpertUsageReader> expert_usage_;
  BackgroundLane sums_{&clock_};
  BackgroundLane answers_{&clock_};
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::ExpertService::Stub> experts_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

// A request of two prompt tokens and `max_tokens` greedy tokens that the model cannot end early.
v1::GenerateRequest GreedyRequest(uint32_t max_tokens);
v1::ScoreRequest SmallScoreRequest();

// The field paths of the BadRequest in a status's details, in order.
std::vector<std::string> ViolatedFields(const grpc::Status& status);

// The reason of the ErrorInfo in a status's details.
std::string ErrorReason(const grpc::Status& status);

// The little-endian array that a bytes field holds.
template <typename T>
std::vector<T> Values(const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace peerage
