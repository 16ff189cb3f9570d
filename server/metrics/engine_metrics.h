#pragma once

#include <prometheus/registry.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/experts/expert_usage.h"
#include "server/engine/engine_status.h"
#include "server/engine/observer.h"

namespace peerage {

// What is known once the model is loaded, and does not change.
struct MetricsInfo {
  std::string version;
  std::string architecture;
  std::string fingerprint;
  std::string weights_dtype;
  std::string device;
  std::vector<ExpertLayer> expert_layers;
  bool distinct_experts = false;  // whether requests' events tell of them
  int32_t kv_block_tokens = 0;
  int32_t kv_blocks = 0;
  std::vector<std::pair<std::string, int64_t>> planned_bytes;  // by part
};

// The engine's events and status as Prometheus series (docs/metrics.md lists them). Every label
// comes from a closed set and every series exists from the start, so rates are right from the first
// scrape. A new series is a row in one of the tables of the source.
//
// Threads: safe from many threads; an event costs a few atomic additions and short locks.
class EngineMetrics : public EngineObserver {
 public:
  // Every series carries the model's name.
  explicit EngineMetrics(const std::string& model_name);
  ~EngineMetrics() override;

  // Adds the series that say what runs here. Called once, when the model is known.
  void SetInfo(const MetricsInfo& info);

  // From here on gauges show what `status` says at each scrape; before, 0. What it asks must
  // outlive the last scrape.
  void Watch(std::function<EngineStatus()> status);

  void OnStep(const StepEvent& event) override;
  void OnTokens(const TokensEvent& event) override;
  void OnTurn(const TurnEvent& event) override;
  void OnRequestDone(const RequestEvent& event) override;

  const prometheus::Collectable& collectable() const;

 private:
  struct Tables;
  const std::unique_ptr<Tables> tables_;
};

}  // namespace peerage
