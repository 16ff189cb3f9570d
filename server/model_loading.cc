#include "server/model_loading.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/choice.h"
#include "base/status_macros.h"
#include "model/nn/plan/model_plan.h"
#include "server/available_memory.h"
#include "server/config_options.h"
#include "server/engine/clock.h"

namespace peerage {
namespace {

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

// What the traces of as many requests as can run take; each sequence may be a request's only one.
// A summary comes beside hidden states, a full trace shares their limit.
int64_t PlannedTraceBytes(const ServerConfig& config, const std::vector<ExpertLayer>& layers) {
  const bool sums = TraceLevel(config) != ExpertTraceLevel::kNone;
  const uint64_t each = MaxTraceBytes(config) + (sums ? TraceBytes(layers) : 0);
  return static_cast<int64_t>(config.max_sequences * each);
}

absl::StatusOr<MemoryPlan> Plan(const ServerConfig& config, const DeviceShare& share,
                                const Checkpoint& checkpoint, const nn::MemoryNeeds& needs) {
  MemoryRequest request;
  request.device = share.device;
  request.workers = share.workers;
  request.weights_bytes = static_cast<int64_t>(needs.weights_bytes);
  request.workspace_bytes = static_cast<int64_t>(needs.workspace_bytes);
  const std::vector<ExpertLayer> expert_layers = nn::PlanModel(checkpoint.config()).ExpertLayers();
  HostMemory host;
  host.expert_usage_bytes =
      static_cast<int64_t>(ExpertUsageBytes(expert_layers, UsageMode(config)));
  // What a step picks comes to the host, too.
  host.expert_trace_bytes =
      PlannedTraceBytes(config, expert_layers) + static_cast<int64_t>(needs.picks_bytes);
  // The host has this of the workers of all devices, the CPU of its own.
  if (share.device != "cpu") {
    host.expert_usage_bytes *= share.all_workers;
    host.expert_trace_bytes *= share.all_workers;
  }
  host.available_bytes = AvailableMemory();
  request.expert_usage_bytes = static_cast<int64_t>(needs.counters_bytes);
  if (share.device == "cpu") {
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

// What loading a device's models needs, said in the log.
struct DeviceModels {
  std::unique_ptr<nn::ModelFamily> family;
  MemoryPlan memory;
};

absl::StatusOr<DeviceModels> PlanDevice(const ServerConfig& config, const DeviceShare& share,
                                        const Checkpoint& checkpoint, Log& log) {
  nn::LoadOptions options = LoadOptionsOf(config, share);
  options.progress = ProgressLog(&log);
  ASSIGN_OR_RETURN(const nn::MemoryNeeds needs, nn::PlanMemory(checkpoint, options));
  ASSIGN_OR_RETURN(const MemoryPlan plan, Plan(config, share, checkpoint, needs));
  log.Write(LogLevel::kInfo, absl::StrCat("memory: ", plan.ToString()));
  if (!needs.conversions.empty()) {
    log.Write(LogLevel::kInfo,
              absl::StrCat("converting: ", absl::StrJoin(needs.conversions, ", ")));
  }
  options.kv_cache_bytes = plan.kv_cache_bytes / share.workers;
  return DeviceModels{std::make_unique<nn::ModelFamily>(&checkpoint, options), plan};
}

// The part of each worker of --threads.
int ThreadsOf(const ServerConfig& config, int worker, int workers) {
  return std::max(config.threads / workers + (worker < config.threads % workers ? 1 : 0), 1);
}

}  // namespace

ExpertUsageMode UsageMode(const ServerConfig& config) {
  return *FindChoice(kExpertUsageModes, config.expert_usage);
}

ExpertTraceLevel TraceLevel(const ServerConfig& config) {
  return *FindChoice(kExpertTraceLevels, config.expert_trace);
}

uint64_t MaxTraceBytes(const ServerConfig& config) {
  return static_cast<uint64_t>(config.max_trace_mib) << 20;
}

nn::LoadOptions LoadOptionsOf(const ServerConfig& config, const DeviceShare& share) {
  nn::LoadOptions options;
  options.device = share.device;
  options.weights_dtype = *FindChoice(kWeightsDtypes, config.weights_dtype);
  options.expert_dtype = *FindChoice(kExpertDtypes, config.expert_dtype);
  options.activation_dtype = *FindChoice(kActivationDtypes, config.activation_dtype);
  options.kv_dtype = *FindChoice(kKvDtypes, config.kv_dtype);
  options.cuda_batch_invariant = config.cuda_batch_invariant;
  options.threads = ThreadsOf(config, 0, share.workers);  // the most of one
  // The context of a Score keeps a slot while its continuations run.
  options.num_slots = config.max_sequences;
  options.max_step_tokens = config.max_batch_tokens;
  options.count_experts = UsageMode(config) != ExpertUsageMode::kOff;
  options.trace_experts = TraceLevel(config) != ExpertTraceLevel::kNone;
  return options;
}

std::vector<DeviceShare> DeviceShares(const ServerConfig& config, const std::string& devices) {
  const std::vector<std::string> names = absl::StrSplit(devices, ',');
  const int each = names.size() > 1 ? 1 : config.workers;
  std::vector<DeviceShare> shares;
  shares.reserve(names.size());
  for (const std::string& name : names) {
    shares.push_back({name, each, each * static_cast<int>(names.size())});
  }
  return shares;
}

absl::StatusOr<int64_t> PlanKvCacheMib(const ServerConfig& config) {
  const DeviceShare share = DeviceShares(config, config.device).front();
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, OpenCheckpoint(config.model));
  ASSIGN_OR_RETURN(const nn::MemoryNeeds needs,
                   nn::PlanMemory(*checkpoint, LoadOptionsOf(config, share)));
  ASSIGN_OR_RETURN(const MemoryPlan plan, Plan(config, share, *checkpoint, needs));
  return (plan.kv_cache_bytes + (1 << 20) - 1) >> 20;
}

absl::StatusOr<std::unique_ptr<WorkerModels>> WorkerModels::Load(
    const ServerConfig& config, const std::vector<DeviceShare>& shares,
    const Checkpoint& checkpoint, Log& log) {
  std::unique_ptr<WorkerModels> loaded(new WorkerModels);
  for (const DeviceShare& share : shares) {
    ASSIGN_OR_RETURN(DeviceModels device, PlanDevice(config, share, checkpoint, log));
    for (int i = 0; i < share.workers; ++i) {
      const int threads = ThreadsOf(config, i, share.workers);
      auto model = device.family->Load(threads);
      // Somebody else took what was free, or what the plan does not know is more than it leaves.
      if (model.status().code() == absl::StatusCode::kResourceExhausted) {
        return absl::ResourceExhaustedError(absl::StrCat(model.status().message(),
                                                         "; planned: ", device.memory.ToString(),
                                                         "; lower --kv-cache-mib"));
      }
      RETURN_IF_ERROR(model.status());
      loaded->workers_.push_back({device.family.get(), share.device, threads});
      loaded->statistics_.push_back(
          std::make_unique<ExpertStatistics>(UsageMode(config), model->get(), Clock::Real().Now()));
      loaded->models_.push_back(*std::move(model));
    }
    loaded->families_.push_back(std::move(device.family));
    loaded->memory_.push_back(device.memory);
  }
  return loaded;
}

std::vector<ExpertStatistics*> WorkerModels::statistics() const {
  std::vector<ExpertStatistics*> all;
  for (const auto& each : statistics_) all.push_back(each.get());
  return all;
}

void WorkerModels::OnTurn(int worker, absl::Time now) {
  LanguageModel* const next = std::exchange(workers_[worker].next_model, nullptr);
  if (next != nullptr) statistics_[worker]->Replace(next);
  statistics_[worker]->Advance(now);
}

LoadModel WorkerModels::Rebuild(int worker, std::unique_ptr<LanguageModel> failed) {
  try {
    statistics_[worker]->Replace(nullptr);  // the last look at what failed
  } catch (const std::exception&) {
    statistics_[worker]->Forget();  // there is no memory for a copy, or so: its slice is lost
  }
  failed = nullptr;  // its memory is the next one's
  Worker& own = workers_[worker];
  // What it loads is the worker's by the time of its next turn with a model.
  return [&own]() -> absl::StatusOr<std::unique_ptr<LanguageModel>> {
    // Where a step has never ended, the device is not to be had either.
    if (own.is_gone && own.device != "cpu") {
      return absl::UnavailableError(absl::StrCat(own.device, ": a step does not end"));
    }
    ASSIGN_OR_RETURN(std::unique_ptr<LanguageModel> model, own.family->Load(own.threads));
    own.next_model = model.get();
    return model;
  };
}

}  // namespace peerage
