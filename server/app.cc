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
#include "model/nn/plan/model_plan.h"
#include "server/available_memory.h"
#include "server/config_options.h"
#include "server/device_choice.h"
#include "server/experts/expert_baseline.h"
#include "server/pages/static_files.h"
#include "server/rpc/call_interceptor.h"

namespace peerage {
namespace {

// After the engine is drained, results may still be on their way to slow clients.
constexpr absl::Duration kFlushTimeout = absl::Seconds(1);

// Texts are read beside the model's threads, and a megabyte takes a tenth of a second.
constexpr int kMostTextThreads = 4;

// Says now and then how far loading is; small models are loaded before there is anything to say.
class ProgressLog {
 public:
  explicit ProgressLog(Log* log) : log_(log) {}

  void operator()(const nn::LoadProgress& progress) {
    constexpr uint64_t kWorthSaying = uint64_t{256} << 20;
    const uint64_t tenths = progress.total == 0 ? 0 : 10 * progress.loaded / progress.total;
    if (progress.total < kWorthSaying || tenths == said_) return;
    said_ = tenths;
    log_->Write(LogLevel::kInfo,
                absl::StrCat("loading: ", 10 * tenths, " %, ", progress.loaded >> 20, " of ",
                             progress.total >> 20, " MiB"));
  }

 private:
  Log* log_;
  uint64_t said_ = 0;
};

// The configuration has names that were checked.
ExpertUsageMode UsageMode(const ServerConfig& config) {
  return *FindChoice(kExpertUsageModes, config.expert_usage);
}

ExpertTraceLevel TraceLevel(const ServerConfig& config) {
  return *FindChoice(kExpertTraceLevels, config.expert_trace);
}

// Picks leave the model only where it may trace.
bool CountsDistinctExperts(const ServerConfig& config) {
  return UsageMode(config) != ExpertUsageMode::kOff &&
         TraceLevel(config) != ExpertTraceLevel::kNone &&
         *FindChoice(kExpertMetricsLevels, config.expert_metrics) >= ExpertMetricsLevel::kStandard;
}

uint64_t MaxTraceBytes(const ServerConfig& config) {
  return static_cast<uint64_t>(config.max_trace_mib) << 20;
}

// What the traces of as many requests as can run take; each sequence may be a request's only one.
// A summary comes beside hidden states, a full trace shares their limit.
int64_t PlannedTraceBytes(const ServerConfig& config, const std::vector<ExpertLayer>& layers) {
  const bool sums = TraceLevel(config) != ExpertTraceLevel::kNone;
  const uint64_t each = MaxTraceBytes(config) + (sums ? TraceBytes(layers) : 0);
  return static_cast<int64_t>(config.max_sequences * each);
}

absl::StatusOr<MemoryPlan> Plan(const ServerConfig& config, const std::string& device,
                                const Checkpoint& checkpoint, const nn::MemoryNeeds& needs) {
  MemoryRequest request;
  request.device = device;
  request.weights_bytes = static_cast<int64_t>(needs.weights_bytes);
  request.workspace_bytes = static_cast<int64_t>(needs.workspace_bytes);
  const std::vector<ExpertLayer> expert_layers = nn::PlanModel(checkpoint.config()).ExpertLayers();
  HostMemory host;
  host.expert_usage_bytes =
      static_cast<int64_t>(ExpertUsageBytes(expert_layers, UsageMode(config)));
  // What a step picks comes to the host, too.
  host.expert_trace_bytes =
      PlannedTraceBytes(config, expert_layers) + static_cast<int64_t>(needs.picks_bytes);
  host.available_bytes = AvailableMemory();
  request.expert_usage_bytes = static_cast<int64_t>(needs.counters_bytes);
  if (device == "cpu") {
    request.expert_usage_bytes += host.expert_usage_bytes;
    request.expert_trace_bytes = host.expert_trace_bytes;
    request.available_bytes = host.available_bytes;
  } else {
    request.expert_trace_bytes = static_cast<int64_t>(needs.picks_bytes);
    request.available_bytes = static_cast<int64_t>(needs.device_free_bytes);
    request.host = host;
  }
  request.kv_block_bytes = static_cast<int64_t>(needs.kv_block_bytes);
  request.kv_block_tokens = needs.kv_block_tokens;
  request.context_length = checkpoint.config().max_positions;
  request.max_sequences = config.max_sequences;
  request.kv_cache_mib = config.kv_cache_mib;
  return PlanMemory(request);
}

struct LoadedModel {
  std::unique_ptr<LanguageModel> model;
  MemoryPlan memory;
};

nn::LoadOptions OptionsOf(const ServerConfig& config, const std::string& device) {
  nn::LoadOptions options;
  options.device = device;
  options.weights_dtype = *FindChoice(kWeightsDtypes, config.weights_dtype);
  options.expert_dtype = *FindChoice(kExpertDtypes, config.expert_dtype);
  options.activation_dtype = *FindChoice(kActivationDtypes, config.activation_dtype);
  options.kv_dtype = *FindChoice(kKvDtypes, config.kv_dtype);
  options.cuda_batch_invariant = config.cuda_batch_invariant;
  options.threads = config.threads;
  // The context of a Score keeps a slot while its continuations run.
  options.num_slots = config.max_sequences;
  options.max_step_tokens = config.max_batch_tokens;
  options.count_experts = UsageMode(config) != ExpertUsageMode::kOff;
  options.trace_experts = TraceLevel(config) != ExpertTraceLevel::kNone;
  return options;
}

absl::StatusOr<LoadedModel> Load(const ServerConfig& config, const std::string& device,
                                 const Checkpoint& checkpoint, Log& log) {
  nn::LoadOptions options = OptionsOf(config, device);
  options.progress = ProgressLog(&log);
  ASSIGN_OR_RETURN(const nn::MemoryNeeds needs, nn::PlanMemory(checkpoint, options));
  ASSIGN_OR_RETURN(const MemoryPlan plan, Plan(config, device, checkpoint, needs));
  log.Write(LogLevel::kInfo, absl::StrCat("memory: ", plan.ToString()));
  if (!needs.conversions.empty()) {
    log.Write(LogLevel::kInfo,
              absl::StrCat("converting: ", absl::StrJoin(needs.conversions, ", ")));
  }
  options.kv_cache_bytes = plan.kv_cache_bytes;
  auto model = nn::LoadModel(checkpoint, options);
  // Somebody else took what was free, or what the plan does not know is more than it leaves.
  if (model.status().code() == absl::StatusCode::kResourceExhausted) {
    return absl::ResourceExhaustedError(absl::StrCat(
        model.status().message(), "; planned: ", plan.ToString(), "; lower --kv-cache-mib"));
  }
  RETURN_IF_ERROR(model.status());
  return LoadedModel{*std::move(model), plan};
}

// What --kv-cache-mib=auto comes to on this device, now.
absl::StatusOr<int64_t> PlanKvCacheMib(const ServerConfig& config) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, OpenCheckpoint(config.model));
  ASSIGN_OR_RETURN(const nn::MemoryNeeds needs,
                   nn::PlanMemory(*checkpoint, OptionsOf(config, config.device)));
  ASSIGN_OR_RETURN(const MemoryPlan plan, Plan(config, config.device, *checkpoint, needs));
  return (plan.kv_cache_bytes + (1 << 20) - 1) >> 20;
}

void LogModel(const ModelDescription& model, Log& log) {
  log.Write(
      LogLevel::kInfo,
      absl::StrCat("model: ", model.architecture, " of ", model.total_parameters, " parameters, ",
                   model.num_layers, " layers, context ", model.context_length, ", weights ",
                   model.weights_dtype, ", fingerprint ", model.fingerprint));
  log.Write(LogLevel::kInfo,
            absl::StrCat("device: ", model.device, " with ", model.kernel_target, " kernels"));
}

void LogChat(const Tokenizer& tokenizer, Log& log) {
  const absl::Status status = tokenizer.chat_status();
  log.Write(LogLevel::kInfo, status.ok() ? absl::StrCat("chat: ", tokenizer.chat_template_name())
                                         : absl::StrCat("chat is refused: ", status.message()));
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
      request_log_(&log),
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
    log.Write(LogLevel::kInfo,
              absl::StrCat("--device auto takes ", choice.device, ": ", choice.reason));
  }
  std::unique_ptr<App> app(new App(config, log, std::move(on_lost)));
  RETURN_IF_ERROR(app->StartAdmin());
  RETURN_IF_ERROR(At("--listen", CheckCanListen(config.listen)));
  RETURN_IF_ERROR(app->LoadModel(choice.device));
  RETURN_IF_ERROR(app->Serve());
  return app;
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

absl::Status App::LoadModel(const std::string& device) {
  auto opened = nn::OpenModel(config_.model, OptionsOf(config_, device));
  RETURN_IF_ERROR(At("--model", opened.status()));
  const Checkpoint& checkpoint = *opened->checkpoint;
  if (!checkpoint.ignored().empty()) {
    log_.Write(LogLevel::kInfo, absl::StrCat("ignored in the model's files: ",
                                             absl::StrJoin(checkpoint.ignored(), ", ")));
  }
  auto loaded = Load(config_, device, checkpoint, log_);
  RETURN_IF_ERROR(At(absl::StrCat("--model: ", config_.model), loaded.status()));
  std::unique_ptr<LanguageModel> model = std::move(loaded->model);
  tokenizer_ = std::move(opened->tokenizer);
  LogModel(model->description(), log_);
  LogChat(*tokenizer_, log_);
  SetMetricsInfo(*model, loaded->memory);
  const ExpertUsageMode mode = UsageMode(config_);
  ExpertMetrics::Options expert_metrics{
      .model_name = config_.model_name,
      .layers = model->description().expert_layers,
      .mode = mode,
      .level = *FindChoice(kExpertMetricsLevels, config_.expert_metrics)};
  if (!config_.expert_baseline.empty()) {
    ASSIGN_OR_RETURN(expert_metrics.baseline,
                     At("--expert-baseline",
                        ReadExpertBaseline(config_.expert_baseline, expert_metrics.layers)));
  }
  expert_metrics_.emplace(std::move(expert_metrics));
  statistics_ = std::make_unique<ExpertStatistics>(mode, model.get(), Clock::Real().Now());
  EngineOptions options;
  options.max_batch_tokens = config_.max_batch_tokens;
  options.max_sequences = config_.max_sequences;
  options.max_queued_requests = config_.max_queued_requests;
  options.max_queued_tokens = config_.max_queued_tokens;
  options.prefix_cache = config_.prefix_cache == "on";
  options.admission = *FindChoice(kAdmissions, config_.admission);
  options.count_distinct_experts = CountsDistinctExperts(config_);
  options.every_turn = [this](absl::Time now) { statistics_->Advance(now); };
  options.on_lost = [this](const absl::Status& status) { Lose(status); };
  engine_ = std::make_unique<Engine>(options, std::move(model), tokenizer_.get(), &Clock::Real(),
                                     &observers_);
  metrics_.Watch([this] { return engine_->status(); });
  const auto read_on = [this](BackgroundLane& lane) {
    return std::make_unique<ExpertUsageReader>(
        ExpertUsageParts{engine_.get(), statistics_.get(), &lane, &Clock::Real()});
  };
  expert_usage_ = read_on(sums_);
  expert_usage_pages_.emplace(
      expert_usage_.get(), &engine_->model().expert_layers,
      ExpertUsagePages::Options{
          .model_name = config_.model_name, .mode = mode, .trace_level = TraceLevel(config_)});
  expert_usage_pages_->AddTo(*admin_);
  AddStaticFiles(*admin_);
  usage_for_metrics_ = read_on(figures_);
  expert_metrics_updates_.emplace(usage_for_metrics_.get(), &figures_, &Clock::Real(),
                                  &*expert_metrics_);
  expert_metrics_updates_->Start();
  return absl::OkStatus();
}

void App::SetMetricsInfo(const LanguageModel& model, const MemoryPlan& memory) {
  const ModelDescription& description = model.description();
  MetricsInfo info;
  info.version = kVersion;
  info.architecture = description.architecture;
  info.fingerprint = description.fingerprint;
  info.weights_dtype = description.weights_dtype;
  info.device = description.device;
  info.expert_layers = description.expert_layers;
  info.distinct_experts = CountsDistinctExperts(config_) && !info.expert_layers.empty();
  info.kv_block_tokens = model.capacity().block_tokens;
  info.kv_blocks = model.capacity().num_blocks;
  const HostMemory host = memory.host.value_or(HostMemory{});
  info.planned_bytes = {{"weights", memory.weights_bytes},
                        {"kv_cache", memory.kv_cache_bytes},
                        {"workspace", memory.workspace_bytes},
                        {"expert_usage", memory.expert_usage_bytes + host.expert_usage_bytes},
                        {"traces", memory.expert_trace_bytes + host.expert_trace_bytes}};
  metrics_.SetInfo(info);
}

absl::Status App::Serve() {
  RpcServerOptions options;
  options.listen = config_.listen.ToString();
  options.model_name = config_.model_name;
  options.version = kVersion;
  options.trace_limits = {TraceLevel(config_), MaxTraceBytes(config_)};
  options.texts = {.threads = std::clamp(config_.threads / 2, 1, kMostTextThreads),
                   .max_waiting = config_.max_queued_requests};
  options.max_request_bytes = config_.max_request_mib << 20;
  options.min_ping_interval = config_.min_ping_interval;
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
                                        .log = &log_});
  RETURN_IF_ERROR(At("--listen", rpc.status()));
  rpc_ = *std::move(rpc);
  const auto read = [this](absl::string_view json) {
    return rpc_->ReadGenerate(json, "playground");
  };
  playground_.emplace(engine_.get(), tokenizer_.get(), read);
  playground_->AddTo(*admin_);
  serving_ = engine_.get();
  return absl::OkStatus();
}

// Those of experts are there once the model is.
std::vector<const prometheus::Collectable*> App::Collectables() const {
  std::vector<const prometheus::Collectable*> all = {&metrics_.collectable(), &process_metrics_,
                                                     &call_metrics_.collectable()};
  if (serving_ != nullptr) all.push_back(&*expert_metrics_);
  return all;
}

// A hung step is a reason to start the process anew; being busy, loading or draining is not.
AdminResponse App::Health() const {
  const Engine* engine = serving_;
  if (engine != nullptr) {
    const absl::Duration since = Clock::Real().Now() - engine->status().last_turn;
    if (since > config_.step_timeout) {
      return {.status = 503,
              .body = absl::StrCat("the engine has not ended a turn for ",
                                   absl::FormatDuration(absl::Trunc(since, absl::Seconds(1))),
                                   " (--step-timeout=", absl::FormatDuration(config_.step_timeout),
                                   ")\n")};
    }
  }
  return {.body = "ok\n"};
}

AdminResponse App::Readiness() const {
  const Engine* engine = serving_;
  if (engine == nullptr) return {.status = 503, .body = "not ready\n"};
  const EngineStatus status = engine->status();
  if (!status.lost.ok()) {
    return {.status = 503, .body = absl::StrCat("not ready: ", status.lost.message(), "\n")};
  }
  if (status.draining) return {.status = 503, .body = "not ready\n"};
  return {.body = "ready\n"};
}

// On the worker's thread, so that somebody else has to drain.
void App::Lose(const absl::Status& status) {
  log_.Write(LogLevel::kError, absl::StrCat(engine_->model().device, ": ", status.message(),
                                            "; nothing is served any more"));
  on_lost_();
}

std::string App::ReadyLine() const {
  return absl::StrCat("peerage-server ready grpc=", rpc_->address(),
                      " admin=", admin_->address().ToString(), " model=", config_.model_name);
}

bool App::Drain(absl::Duration drain_timeout) {
  engine_->StopAdmission();
  rpc_->SetReady(false);
  const EngineStatus status = engine_->status();
  log_.Write(LogLevel::kInfo,
             absl::StrCat("draining: ", status.requests_running, " requests running, ",
                          status.requests_waiting, " waiting"));
  if (!engine_->Drain(Clock::Real().Now() + drain_timeout)) return false;
  playground_->Drain(kFlushTimeout);
  rpc_->Shutdown(absl::Now() + kFlushTimeout);
  log_.Write(LogLevel::kInfo, "drained");
  return true;
}

}  // namespace peerage
