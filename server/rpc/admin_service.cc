#include "server/rpc/admin_service.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/rpc/grpc_status.h"
#include "server/rpc/may_change.h"
#include "server/rpc/reactors.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/request/field_errors.h"

namespace peerage {

namespace {

constexpr std::pair<LogLevel, v1::LogLevel> kLevels[] = {{LogLevel::kDebug, v1::LOG_LEVEL_DEBUG},
                                                         {LogLevel::kInfo, v1::LOG_LEVEL_INFO},
                                                         {LogLevel::kWarn, v1::LOG_LEVEL_WARN},
                                                         {LogLevel::kError, v1::LOG_LEVEL_ERROR},
                                                         {LogLevel::kOff, v1::LOG_LEVEL_OFF}};

v1::LogLevel ToProto(LogLevel level) {
  for (const auto& [ours, theirs] : kLevels) {
    if (ours == level) return theirs;
  }
  return v1::LOG_LEVEL_UNSPECIFIED;
}

std::optional<LogLevel> FromProto(v1::LogLevel level) {
  for (const auto& [ours, theirs] : kLevels) {
    if (theirs == level) return ours;
  }
  return std::nullopt;
}

v1::WorkerState ToProto(WorkerState state) {
  switch (state) {
    case WorkerState::kReady:
      return v1::WORKER_STATE_READY;
    case WorkerState::kRebuilding:
      return v1::WORKER_STATE_REBUILDING;
    case WorkerState::kLost:
      return v1::WORKER_STATE_LOST;
  }
  return v1::WORKER_STATE_UNSPECIFIED;
}

void AddWorker(const WorkerStatus& status, v1::GetServerStatusResponse& response) {
  const int index = response.workers_size();
  v1::WorkerStatus& worker = *response.add_workers();
  worker.set_index(index);
  worker.set_device(status.device);
  worker.set_kernel_target(status.kernel_target);
  worker.set_state(ToProto(status.state));
  worker.set_restarts(status.restarts);
  worker.set_requests_waiting(status.requests_waiting);
  worker.set_requests_running(status.requests_running);
  worker.set_kv_blocks_total(status.kv_blocks_total);
  worker.set_kv_blocks_free(status.kv_blocks_free);
  worker.set_steps(status.steps);
  worker.set_kv_blocks_cached(status.kv_blocks_cached);
  worker.set_prefix_cache_query_tokens(status.prefix_queried_tokens);
  worker.set_prefix_cache_hit_tokens(status.prefix_hit_tokens);
  worker.set_preemptions(status.preemptions);
}

}  // namespace

// One Drain call, waiting for the end of the drain or for its own cancellation.
class AdminService::DrainReactor final : public SharedReactor<grpc::ServerUnaryReactor> {
 public:
  void End(const grpc::Status& status) {
    if (!ended_.exchange(true)) Finish(status);
  }

  void OnCancel() override { End(grpc::Status::CANCELLED); }

 private:
  std::atomic<bool> ended_ = false;
};

AdminService::AdminService(const Backend& backend, std::string version)
    : backend_(backend), version_(std::move(version)), start_(backend.clock->Now()) {}

AdminService::~AdminService() {
  std::thread drain;
  {
    absl::MutexLock lock(&mu_);
    drain = std::move(drain_);
  }
  if (drain.joinable()) drain.join();
}

grpc::ServerUnaryReactor* AdminService::GetServerStatus(grpc::CallbackServerContext* context,
                                                        const v1::GetServerStatusRequest* request,
                                                        v1::GetServerStatusResponse* response) {
  const absl::Status read = BeginCall(*context);
  if (!read.ok()) return FinishUnary(read, context);
  const EngineStatus status = backend_.engine->status();
  response->set_version(version_);
  response->set_uptime_seconds(absl::ToDoubleSeconds(backend_.clock->Now() - start_));
  response->set_draining(status.draining);
  response->set_requests_waiting(status.requests_waiting);
  response->set_requests_running(status.requests_running);
  for (const WorkerStatus& worker : status.workers) AddWorker(worker, *response);
  response->set_log_level(ToProto(backend_.log->level()));
  return FinishUnary(absl::OkStatus(), context);
}

grpc::ServerUnaryReactor* AdminService::Drain(grpc::CallbackServerContext* context,
                                              const v1::DrainRequest* request,
                                              v1::DrainResponse* response) {
  const std::shared_ptr<DrainReactor> reactor = Held(new DrainReactor);
  absl::Status status = BeginCall(*context);
  status.Update(CheckMayChange(*context, backend_.door, "Drain"));
  if (!status.ok()) {
    reactor->End(ToGrpcStatus(status, *context));
    return reactor.get();
  }
  if (!WaitForDrain(reactor)) reactor->End(grpc::Status::OK);
  return reactor.get();
}

grpc::ServerUnaryReactor* AdminService::SetLogLevel(grpc::CallbackServerContext* context,
                                                    const v1::SetLogLevelRequest* request,
                                                    v1::SetLogLevelResponse* response) {
  absl::Status status = BeginCall(*context);
  status.Update(CheckMayChange(*context, backend_.door, "SetLogLevel"));
  const std::optional<LogLevel> level = FromProto(request->level());
  if (!level.has_value()) status.Update(FieldError("level", "must be a known LogLevel"));
  if (!status.ok()) return FinishUnary(status, context);
  response->set_previous(ToProto(backend_.log->level()));
  backend_.log->SetLevel(*level);
  return FinishUnary(absl::OkStatus(), context);
}

bool AdminService::WaitForDrain(std::shared_ptr<DrainReactor> reactor) {
  absl::MutexLock lock(&mu_);
  if (drained_) return false;
  waiting_.push_back(std::move(reactor));
  if (!drain_.joinable()) drain_ = std::thread(&AdminService::RunDrain, this);
  return true;
}

void AdminService::RunDrain() {
  backend_.engine->Drain(absl::InfiniteFuture());
  std::vector<std::shared_ptr<DrainReactor>> waiting;
  {
    absl::MutexLock lock(&mu_);
    drained_ = true;
    waiting = std::exchange(waiting_, {});
  }
  for (const std::shared_ptr<DrainReactor>& reactor : waiting) reactor->End(grpc::Status::OK);
}

}  // namespace peerage
