#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/checkpoint/checkpoint.h"
#include "model/language_model.h"
#include "model/nn/load_model.h"
#include "server/config.h"
#include "server/engine/expert_trace.h"
#include "server/engine/replica.h"
#include "server/experts/expert_statistics.h"
#include "server/log/log.h"
#include "server/memory_plan.h"

namespace peerage {

// The configuration has names that were checked.
ExpertUsageMode UsageMode(const ServerConfig& config);
ExpertTraceLevel TraceLevel(const ServerConfig& config);
uint64_t MaxTraceBytes(const ServerConfig& config);

// A device and the workers that have it.
struct DeviceShare {
  std::string device;
  int workers = 1;
  int all_workers = 1;  // of all devices
};

// Of what --device comes to: "cpu", "cuda:0" or "cuda:0,cuda:1", where each device has one worker.
std::vector<DeviceShare> DeviceShares(const ServerConfig& config, const std::string& devices);

// For each of the workers.
nn::LoadOptions LoadOptionsOf(const ServerConfig& config, const DeviceShare& share);

// What --kv-cache-mib=auto comes to on this device, now.
absl::StatusOr<int64_t> PlanKvCacheMib(const ServerConfig& config);

// The models of the workers, all of one checkpoint, and the usage of their experts. Models on one
// device share it: on the CPU the weights are there once, the KV cache and the threads are divided.
//
// Threads: Load is for one; the rest is as ReplicaOptions and EngineOptions say, a worker at a
// time.
class WorkerModels {
 public:
  // `checkpoint` must outlive the models. Errors are without the option.
  static absl::StatusOr<std::unique_ptr<WorkerModels>> Load(const ServerConfig& config,
                                                            const std::vector<DeviceShare>& shares,
                                                            const Checkpoint& checkpoint, Log& log);

  // To be taken once, by worker.
  std::vector<std::unique_ptr<LanguageModel>> Take() { return std::move(models_); }
  const std::vector<std::unique_ptr<LanguageModel>>& models() const { return models_; }
  const std::vector<MemoryPlan>& memory() const { return memory_; }  // by device

  std::vector<ExpertStatistics*> statistics() const;
  void OnTurn(int worker, absl::Time now);
  void OnGone(int worker) {
    workers_[worker].is_gone = true;
    statistics_[worker]->Forget();
  }
  // As RebuildModel: over the same weights on the CPU, loaded anew on another device, of which a
  // model that hangs leaves nothing.
  LoadModel Rebuild(int worker, std::unique_ptr<LanguageModel> failed);

 private:
  struct Worker {
    nn::ModelFamily* family = nullptr;
    std::string device;
    int threads = 1;
    bool is_gone = false;                 // a step of its model does not end
    LanguageModel* next_model = nullptr;  // loaded, and nothing has counted it yet
  };

  WorkerModels() = default;

  std::vector<std::unique_ptr<nn::ModelFamily>> families_;  // by device
  std::vector<MemoryPlan> memory_;
  std::vector<Worker> workers_;
  std::vector<std::unique_ptr<LanguageModel>> models_;
  std::vector<std::unique_ptr<ExpertStatistics>> statistics_;  // by worker
};

}  // namespace peerage
