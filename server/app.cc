#include "server/app.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/choice.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/checkpoint.h"
#include "model/nn/load_model.h"
#include "model/nn/open_model.h"
#include "server/config_options.h"
#include "server/device_choice.h"
#include "server/door/descriptor_limit.h"
#include "server/engine/health.h"
#include "server/experts/expert_baseline.h"
#include "server/identity/identity_files.h"
#include "server/pages/static_files.h"
#include "server/rpc/call_interceptor.h"

namespace peerage {
namespace {

// Once the engine is drained, results may still be on their way to slow clients, until the drain's
// deadline; when that is past, so long. So long has everybody else, who may never be done.
constexpr absl::Duration kFlushTimeout = absl::Seconds(1);

// Texts are read beside the model's threads, and a megabyte takes a tenth of a second.
constexpr int kMostTextThreads = 4;

// Picks leave the model only where it may trace.
bool CountsDistinctExperts(const ServerConfig& config) {
  return UsageMode(config) != ExpertUsageMode::kOff &&
         TraceLevel(config) != ExpertTraceLevel::kNone &&
         *FindChoice(kExpertMetricsLevels, config.expert_metrics) >= ExpertMetricsLevel::kStandard;
}

// Of those that are wanted, as many as there are descriptors for.
int32_t MostConnections(int32_t wanted, Log& log) {
  const int64_t limit = RaiseDescriptorLimit();
  const int64_t fitting = ConnectionsFor(limit);
  if (wanted <= fitting) return wanted;
  log.Write(LogLevel::kWarn,
            absl::StrCat("--max-connections: the limit of ", limit, " file descriptors leaves ",
                         fitting, " connections, at ", kDescriptorsPerConnection, " each beside ",
                         OtherDescriptors(limit), " others, not ", wanted));
  return static_cast<int32_t>(fitting);
}

// So many, and for a moment so many times as many, but at least one.
TokenBucket::Limits PerSecond(double count, double times_at_once) {
  return {.at_once = std::max(count * times_at_once, 1.0), .per_second = count};
}

void LogModels(const std::vector<std::unique_ptr<LanguageModel>>& models, Log& log) {
  const ModelDescription& model = models.front()->description();
  log.Write(
      LogLevel::kInfo,
      absl::StrCat("model: ", model.architecture, " of ", model.total_parameters, " parameters, ",
                   model.num_layers, " layers, context ", model.context_length, ", weights ",
                   model.weights_dtype, ", fingerprint ", model.fingerprint));
  for (size_t i = 0; i < models.size(); ++i) {
    const ModelDescription& own = models[i]->description();
    log.Write(LogLevel::kInfo,
              absl::StrCat(models.size() == 1 ? "" : absl::StrCat("worker ", i, ": "),
                           "device: ", own.device, " with ", own.kernel_target, " kernels"));
  }
}

// By part, over all devices. The host has the same for all of them.
std::vector<std::pair<std::string, int64_t>> PlannedBytes(const std::vector<MemoryPlan>& plans) {
  const HostMemory host = plans.front().host.value_or(HostMemory{});
  MemoryPlan sum;
  for (const MemoryPlan& plan : plans) {
    sum.weights_bytes += plan.weights_bytes;
    sum.kv_cache_bytes += plan.kv_cache_bytes;
    sum.workspace_bytes += plan.workspace_bytes;
    sum.expert_usage_bytes += plan.expert_usage_bytes;
    sum.expert_trace_bytes += plan.expert_trace_bytes;
  }
  return {{"weights", sum.weights_bytes},
          {"kv_cache", sum.kv_cache_bytes},
          {"workspace", sum.workspace_bytes},
          {"expert_usage", sum.expert_usage_bytes + host.expert_usage_bytes},
          {"traces", sum.expert_trace_bytes + host.expert_trace_bytes}};
}

void LogChat(const Tokenizer& tokenizer, Log& log) {
  const absl::Status status = tokenizer.chat_status();
  log.Write(LogLevel::kInfo, status.ok() ? absl::StrCat("chat: ", tokenizer.chat_template_name())
                                         : absl::StrCat("chat is refused: ", status.message()));
}

IdentityFiles IdentityFilesOf(const ServerConfig& config) {
  return {.tokens = config.token_file, .policy = config.policy_file};
}

TlsFiles TlsFilesOf(const ServerConfig& config) {
  return {.certificate = config.tls_cert, .key = config.tls_key, .client_ca = config.tls_client_ca};
}

// Whoever is let in by a certificate has an identity as well.
bool AsksWhoCalls(const ServerConfig& config) {
  return IdentityFilesOf(config).given() || !config.tls_client_ca.empty();
}

}  // namespace

App::App(const ServerConfig& config, Log& log, std::function<void()> on_lost)
    : config_(config),
      log_(log),
      on_lost_(std::move(on_lost)),
      metrics_(config.model_name),
      process_metrics_(config.model_name),
      metrics_text_(&Clock::Real()),
      call_metrics_(config.model_name, ServedMethods()),
      door_metrics_(config.model_name),
      request_log_(&log),
      tls_metrics_(config.model_name, &tls_),
      reload_metrics_(config.model_name),
      figures_(&Clock::Real(), BackgroundLane::Priority::kLowest),
      sums_(&Clock::Real()),
      answers_(&Clock::Real()) {}

// The worker is joined before the lanes end: it gives them work.
App::~App() {
  admin_.reset();
  rpc_.reset();
  if (engine_ != nullptr) engine_->Stop();
}

ServerConfig App::Resolve(ServerConfig config) {
  const absl::StatusOr<nn::DeviceChoice> choice = ChooseDevice(config);
  if (!choice.ok()) return config;
  config.device = choice->device;
  for (std::string* dtype : {&config.activation_dtype, &config.kv_dtype}) {
    if (*dtype == "auto") *dtype = config.device == "cpu" ? "f32" : "bf16";
  }
  if (config.kv_cache_mib.has_value()) return config;
  const absl::StatusOr<int64_t> planned = PlanKvCacheMib(config);
  if (planned.ok() && *planned > 0) config.kv_cache_mib = *planned;
  return config;
}

absl::StatusOr<std::unique_ptr<App>> App::Start(const ServerConfig& config, Log& log,
                                                std::function<void()> on_lost) {
  ASSIGN_OR_RETURN(const nn::DeviceChoice choice, ChooseDevice(config));
  if (!choice.reason.empty()) {
    log.Write(choice.passes_over ? LogLevel::kWarn : LogLevel::kInfo,
              absl::StrCat("--device auto takes ", choice.device, ": ", choice.reason));
  }
  std::unique_ptr<App> app(new App(config, log, std::move(on_lost)));
  RETURN_IF_ERROR(app->ReadWhoMayCall());
  RETURN_IF_ERROR(app->StartAdmin());
  RETURN_IF_ERROR(At("--listen", CheckCanListen(config.listen)));
  RETURN_IF_ERROR(app->LoadModel(choice.device));
  RETURN_IF_ERROR(app->Serve());
  return app;
}

absl::Status App::Check(const ServerConfig& config) {
  ASSIGN_OR_RETURN(const nn::DeviceChoice choice, ChooseDevice(config));
  RETURN_IF_ERROR(ReadIdentities(IdentityFilesOf(config), ServedMethods()).status());
  if (!config.tls_cert.empty()) {
    RETURN_IF_ERROR(TlsContext::Read(TlsFilesOf(config), absl::Now()).status());
  }
  const std::vector<DeviceShare> shares = DeviceShares(config, choice.device);
  return At("--model", nn::OpenModel(config.model, LoadOptionsOf(config, shares.front())).status());
}

// Before the model: who misspelt something hears of it at once.
absl::Status App::ReadWhoMayCall() {
  std::vector<IdentityWatch::Source> sources;
  if (AsksWhoCalls(config_)) {
    authorizer_ = std::make_unique<Authorizer>(config_.model_name, ServedMethods());
    identity_metrics_.emplace(config_.model_name, authorizer_.get());
    sources.push_back(
        {"tokens and policy", {config_.token_file, config_.policy_file}, [this]() -> absl::Status {
           ASSIGN_OR_RETURN(Identities identities,
                            ReadIdentities(IdentityFilesOf(config_), ServedMethods()));
           authorizer_->Replace(std::move(identities));
           return absl::OkStatus();
         }});
  }
  if (!config_.tls_cert.empty()) {
    const TlsFiles files = TlsFilesOf(config_);
    sources.push_back({"certificates",
                       {files.certificate, files.key, files.client_ca},
                       [this, files]() -> absl::Status {
                         ASSIGN_OR_RETURN(std::shared_ptr<const TlsContext> context,
                                          TlsContext::Read(files, absl::Now()));
                         tls_.Set(std::move(context));
                         return absl::OkStatus();
                       }});
  }
  if (sources.empty()) return absl::OkStatus();
  for (const IdentityWatch::Source& source : sources) reload_metrics_.Add(source.what);
  ASSIGN_OR_RETURN(identity_watch_,
                   IdentityWatch::Start(std::move(sources), &log_, [this](const std::string& what) {
                     reload_metrics_.OnFailure(what);
                   }));
  return absl::OkStatus();
}

void App::ReadIdentitiesAnew() {
  if (identity_watch_ != nullptr) identity_watch_->ReadNow();
}

// The admin port opens first: probes then see a process that is alive and not ready.
absl::Status App::StartAdmin() {
  admin_ = std::make_unique<AdminServer>();
  admin_->Handle("/healthz", [this](const AdminRequest&) { return Health(); });
  admin_->Handle("/readyz", [this](const AdminRequest&) { return Readiness(); });
  admin_->Handle("/metrics", [this](const AdminRequest&) {
    return AdminResponse{.content_type = kTextExpositionType, .body = metrics_text_.Get([this] {
                           return TextExposition(Collectables());
                         })};
  });
  return At("--admin-listen", admin_->Listen(config_.admin_listen));
}

absl::Status App::LoadModel(const std::string& devices) {
  devices_ = devices;
  const std::vector<DeviceShare> shares = DeviceShares(config_, devices);
  auto opened = nn::OpenModel(config_.model, LoadOptionsOf(config_, shares.front()));
  RETURN_IF_ERROR(At("--model", opened.status()));
  checkpoint_ = std::move(opened->checkpoint);
  tokenizer_ = std::move(opened->tokenizer);
  if (!checkpoint_->ignored().empty()) {
    log_.Write(LogLevel::kInfo, absl::StrCat("ignored in the model's files: ",
                                             absl::StrJoin(checkpoint_->ignored(), ", ")));
  }
  auto loaded = WorkerModels::Load(config_, shares, *checkpoint_, log_);
  RETURN_IF_ERROR(At(absl::StrCat("--model: ", config_.model), loaded.status()));
  models_ = *std::move(loaded);
  LogModels(models_->models(), log_);
  LogChat(*tokenizer_, log_);
  SetMetricsInfo();
  RETURN_IF_ERROR(SetExpertMetrics());
  StartEngine();
  ServeExpertUsage();
  return absl::OkStatus();
}

absl::Status App::SetExpertMetrics() {
  ExpertMetrics::Options options{
      .model_name = config_.model_name,
      .layers = models_->models().front()->description().expert_layers,
      .mode = UsageMode(config_),
      .level = *FindChoice(kExpertMetricsLevels, config_.expert_metrics)};
  if (!config_.expert_baseline.empty()) {
    ASSIGN_OR_RETURN(
        options.baseline,
        At("--expert-baseline", ReadExpertBaseline(config_.expert_baseline, options.layers)));
  }
  expert_metrics_.emplace(std::move(options));
  return absl::OkStatus();
}

void App::StartEngine() {
  EngineOptions options;
  options.max_batch_tokens = config_.max_batch_tokens;
  options.max_sequences = config_.max_sequences;
  options.max_queued_requests = config_.max_queued_requests;
  options.max_queued_tokens = config_.max_queued_tokens;
  options.prefix_cache = config_.prefix_cache == "on";
  options.admission = *FindChoice(kAdmissions, config_.admission);
  options.count_distinct_experts = CountsDistinctExperts(config_);
  options.step_timeout = config_.step_timeout;
  options.every_turn = [this](int worker, absl::Time now) { models_->OnTurn(worker, now); };
  options.on_model_gone = [this](int worker) { models_->OnGone(worker); };
  options.rebuild = [this](int worker, std::unique_ptr<LanguageModel> failed, absl::Time) {
    return models_->Rebuild(worker, std::move(failed));
  };
  options.on_lost = [this](const absl::Status& status) { Lose(status); };
  engine_ = std::make_unique<Engine>(options, models_->Take(), tokenizer_.get(), &Clock::Real(),
                                     &observers_);
  metrics_.Watch([this] { return engine_->status(); });
}

void App::ServeExpertUsage() {
  ExpertUsageParts parts{engine_.get(), models_->statistics(), &sums_, &Clock::Real()};
  expert_usage_ = std::make_unique<ExpertUsageReader>(parts);
  expert_usage_pages_.emplace(expert_usage_.get(), &engine_->model().expert_layers,
                              ExpertUsagePages::Options{.model_name = config_.model_name,
                                                        .mode = UsageMode(config_),
                                                        .trace_level = TraceLevel(config_)});
  expert_usage_pages_->AddTo(*admin_);
  AddStaticFiles(*admin_);
  parts.sums = &figures_;
  parts.refuses = false;
  usage_for_metrics_ = std::make_unique<ExpertUsageReader>(parts);
  expert_metrics_updates_.emplace(usage_for_metrics_.get(), &figures_, &Clock::Real(),
                                  &*expert_metrics_);
  expert_metrics_updates_->Start();
}

void App::SetMetricsInfo() {
  const LanguageModel& first = *models_->models().front();
  const ModelDescription& description = first.description();
  MetricsInfo info;
  info.version = kVersion;
  info.architecture = description.architecture;
  info.fingerprint = description.fingerprint;
  info.weights_dtype = description.weights_dtype;
  info.device = devices_;
  info.expert_layers = description.expert_layers;
  info.distinct_experts = CountsDistinctExperts(config_) && !info.expert_layers.empty();
  info.kv_block_tokens = first.capacity().block_tokens;
  for (const auto& model : models_->models()) info.kv_blocks += model->capacity().num_blocks;
  info.planned_bytes = PlannedBytes(models_->memory());
  metrics_.SetInfo(info);
}

absl::Status App::Serve() {
  RpcServerOptions options;
  options.listen = config_.listen;
  options.listen_mode = static_cast<unsigned>(std::stoul(config_.listen_mode, nullptr, 8));
  options.door = config_.door == "on";
  options.connections = {.connections = MostConnections(config_.max_connections, log_),
                         .peer_connections = config_.max_connections_per_peer,
                         .calls = config_.max_calls,
                         .new_connections = PerSecond(config_.max_new_connections, 4),
                         .new_peer_connections = PerSecond(config_.max_new_connections / 5.0, 5)};
  options.proxies = *AddressRanges::Parse(config_.trusted_proxies);
  options.model_name = config_.model_name;
  options.version = kVersion;
  options.trace_limits = {TraceLevel(config_), MaxTraceBytes(config_)};
  options.texts = {.threads = std::clamp(config_.threads / 2, 1, kMostTextThreads),
                   .max_waiting = config_.max_queued_requests};
  options.max_request_bytes = config_.max_request_mib << 20;
  options.min_ping_interval = config_.min_ping_interval;
  options.slow_readers = {.patience = config_.slow_reader_timeout,
                          .max_unsent_bytes = int64_t{config_.max_unsent_mib} << 20};
  options.log_content = config_.log_content;
  if (options.log_content) {
    log_.Write(LogLevel::kWarn, "--log-content: prompts and answers are logged");
  }
  auto rpc = RpcServer::Start(options, {.engine = engine_.get(),
                                        .tokenizer = tokenizer_.get(),
                                        .clock = &Clock::Real(),
                                        .observer = &observers_,
                                        .expert_usage = expert_usage_.get(),
                                        .answers = &answers_,
                                        .authorizer = authorizer_.get(),
                                        .tls = config_.tls_cert.empty() ? nullptr : &tls_,
                                        .log = &log_,
                                        .door = &door_metrics_});
  RETURN_IF_ERROR(At("--listen", rpc.status()));
  rpc_ = *std::move(rpc);
  const auto read = [this](absl::string_view json) {
    return rpc_->ReadGenerate(json, "playground");
  };
  playground_.emplace(engine_.get(), tokenizer_.get(), read);
  playground_->AddTo(*admin_);
  serving_ = engine_.get();
  idle_memory_.emplace(&sums_, &Clock::Real(), IdleMemory::ThisProcess([this] {
    const EngineStatus status = engine_->status();
    return status.requests_running + status.requests_waiting == 0;
  }));
  idle_memory_->Start();
  return absl::OkStatus();
}

// Those of experts are there once the model is.
std::vector<const prometheus::Collectable*> App::Collectables() const {
  std::vector<const prometheus::Collectable*> all = {
      &metrics_.collectable(),      &process_metrics_, &call_metrics_.collectable(),
      &door_metrics_.collectable(), &tls_metrics_,     &reload_metrics_};
  if (identity_metrics_.has_value()) all.push_back(&*identity_metrics_);
  if (serving_ != nullptr) all.push_back(&*expert_metrics_);
  return all;
}

// The first model may take as long as it likes.
AdminResponse App::Health() const {
  const Engine* engine = serving_;
  if (engine == nullptr) return {.body = "ok\n"};
  const absl::Status health =
      CheckHealth(engine->status(), config_.step_timeout, Clock::Real().Now());
  if (health.ok()) return {.body = "ok\n"};
  return {.status = 503, .body = absl::StrCat(health.message(), "\n")};
}

AdminResponse App::Readiness() const {
  const Engine* engine = serving_;
  if (engine == nullptr) return {.status = 503, .body = "not ready\n"};
  const EngineStatus status = engine->status();
  if (!status.lost.ok()) {
    return {.status = 503, .body = absl::StrCat("not ready: ", status.lost.message(), "\n")};
  }
  if (!status.ready()) return {.status = 503, .body = "not ready\n"};
  return {.body = "ready\n"};
}

// On a thread of the engine's, so that somebody else has to drain.
void App::Lose(const absl::Status& status) {
  log_.Write(LogLevel::kError,
             absl::StrCat(devices_, ": ", status.message(), "; nothing is served any more"));
  on_lost_();
}

std::string App::ReadyLine() const {
  return absl::StrCat("peerage-server ready grpc=", rpc_->address().ToString(),
                      " admin=", admin_->address().ToString(), " model=", config_.model_name);
}

App::Drained App::Drain(absl::Duration drain_timeout) {
  engine_->StopAdmission();
  const EngineStatus status = engine_->status();
  log_.Write(LogLevel::kInfo,
             absl::StrCat("draining: ", status.requests_running, " requests running, ",
                          status.requests_waiting, " waiting"));
  const absl::Time deadline = Clock::Real().Now() + drain_timeout;
  if (!engine_->Drain(deadline)) return Drained::kHangs;
  const absl::Duration left = std::max(deadline - Clock::Real().Now(), kFlushTimeout);
  const absl::Time answers_deadline = absl::Now() + left;
  playground_->Drain(left);
  rpc_->Shutdown(answers_deadline, absl::Now() + kFlushTimeout);
  log_.Write(LogLevel::kInfo, "drained");
  const EngineStatus end = engine_->status();
  return end.hangs ? Drained::kHangs : end.loads() ? Drained::kLoads : Drained::kWholly;
}

}  // namespace peerage
