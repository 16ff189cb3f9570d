#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tokenizer/tokenizer.h"
#include "server/config.h"
#include "server/door/tls_context.h"
#include "server/engine/engine.h"
#include "server/engine/observer.h"
#include "server/experts/background_lane.h"
#include "server/experts/expert_usage_reader.h"
#include "server/http/admin_server.h"
#include "server/identity/authorizer.h"
#include "server/identity_watch.h"
#include "server/idle_memory.h"
#include "server/log/log.h"
#include "server/log/request_log.h"
#include "server/metrics/call_metrics.h"
#include "server/metrics/door_metrics.h"
#include "server/metrics/engine_metrics.h"
#include "server/metrics/expert_metrics.h"
#include "server/metrics/identity_metrics.h"
#include "server/metrics/process_metrics.h"
#include "server/metrics/reload_metrics.h"
#include "server/metrics/text_exposition.h"
#include "server/metrics/tls_metrics.h"
#include "server/model_loading.h"
#include "server/pages/expert_usage_pages.h"
#include "server/pages/playground.h"
#include "server/rpc/rpc_server.h"

namespace peerage {

// One model behind its two ports: what the configuration describes, wired together.
//
// Threads: one; what it owns has threads of its own. The destructor cancels what still runs.
class App {
 public:
  // Opens, plans, loads and listens. An error means that the configuration cannot be served: its
  // message names the option, file or port.
  // `on_lost` is told once, from any thread, that the last device is lost: the app is then to be
  // drained, for it serves nobody any more. `log` must outlive the app.
  static absl::StatusOr<std::unique_ptr<App>> Start(const ServerConfig& config, Log& log,
                                                    std::function<void()> on_lost);

  // The configuration with what `auto` comes to on this machine, as far as it can be found out
  // without loading: what depends on a device or model that is not here stays as it is. Dtypes that
  // keep what a file has stay, too.
  static ServerConfig Resolve(ServerConfig config);

  // Reads what the configuration names, without loading a model or listening: what Start would
  // complain of.
  static absl::Status Check(const ServerConfig& config);

  // Looks now whether files that say who may call have changed. From any thread.
  void ReadIdentitiesAnew();

  // The one line for stdout, without a line break.
  std::string ReadyLine() const;

  ~App();

  // Stops admission, is no longer ready, and returns when every call has ended, and what was
  // computed for it is with its client; after `drain_timeout` the rest is cancelled.
  // kHangs: a step does, also one that was ended. kLoads: every call has ended, and a model is
  // being loaded. Either way the process has to end without destroying the app, which would wait
  // for that.
  enum class Drained { kWholly, kLoads, kHangs };
  Drained Drain(absl::Duration drain_timeout);

  // UNAVAILABLE, with the reason, once every device is lost.
  absl::Status CheckDevice() const { return engine_->status().lost; }

 private:
  App(const ServerConfig& config, Log& log, std::function<void()> on_lost);

  absl::Status StartAdmin();
  absl::Status ReadWhoMayCall();
  absl::Status LoadModel(const std::string& devices);
  void SetMetricsInfo();
  absl::Status SetExpertMetrics();
  void StartEngine();
  void ServeExpertUsage();
  absl::Status Serve();
  std::vector<const prometheus::Collectable*> Collectables() const;
  AdminResponse Health() const;
  AdminResponse Readiness() const;
  void Lose(const absl::Status& status);

  const ServerConfig config_;
  Log& log_;
  const std::function<void()> on_lost_;
  EngineMetrics metrics_;
  ProcessMetrics process_metrics_;
  YoungText metrics_text_;
  CallMetrics call_metrics_;
  DoorMetrics door_metrics_;
  RequestLog request_log_;
  std::unique_ptr<Authorizer> authorizer_;  // none: everybody may do everything
  std::optional<IdentityMetrics> identity_metrics_;
  CurrentTls tls_;
  TlsMetrics tls_metrics_;
  ReloadMetrics reload_metrics_;
  ObserverFanOut observers_{{&metrics_, &call_metrics_, &request_log_}};
  std::atomic<Engine*> serving_ = nullptr;  // set while the ports are open for requests
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string devices_;  // what --device comes to
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<WorkerModels> models_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ExpertUsageReader> expert_usage_;
  std::unique_ptr<ExpertUsageReader> usage_for_metrics_;
  std::optional<ExpertUsagePages> expert_usage_pages_;
  std::optional<Playground> playground_;
  std::optional<ExpertMetrics> expert_metrics_;
  std::optional<ExpertMetricsUpdates> expert_metrics_updates_;
  std::optional<IdleMemory> idle_memory_;
  BackgroundLane figures_;  // for metrics, which nobody waits for
  BackgroundLane sums_;     // over all experts
  BackgroundLane answers_;  // that would hold up the worker
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<IdentityWatch> identity_watch_;
};

}  // namespace peerage
