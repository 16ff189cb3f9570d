#pragma once

#include <array>
#include <memory>
#include <string>

#include "server/engine/observer.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace peerage {

// What peerage_build_info and peerage_model_info say.
struct MetricsInfo {
  std::string version;
  std::string model_name;
  std::string architecture;
  std::string fingerprint;
  std::string weights_dtype;
  std::string device;
};

// The engine's events as Prometheus series (docs/metrics.md lists them). Every label comes from a
// closed set and every series exists from the start, so rates are right from the first scrape.
//
// Threads: safe from many threads; an event costs a few atomic additions and short locks.
class EngineMetrics : public EngineObserver {
 public:
  EngineMetrics();
  ~EngineMetrics() override;

  // Adds the info series. Called once, when the model is known.
  void SetInfo(const MetricsInfo& info);

  void OnStep(const StepEvent& event) override;
  void OnRequestDone(const RequestEvent& event) override;
  void OnQueueChanged(int32_t requests_running, int32_t requests_waiting) override;

  // Every series in the text exposition format 0.0.4.
  std::string TextExposition() const;

 private:
  static constexpr int kNumMethods = 2;  // RequestKind
  static constexpr int kNumCodes = 17;   // OK to UNAUTHENTICATED

  const std::unique_ptr<prometheus::Registry> registry_;
  std::array<std::array<prometheus::Counter*, kNumCodes>, kNumMethods> requests_;
  prometheus::Counter& prompt_tokens_;
  prometheus::Counter& generation_tokens_;
  prometheus::Gauge& requests_running_;
  prometheus::Gauge& requests_waiting_;
  prometheus::Gauge& kv_cache_usage_;
  prometheus::Gauge& kv_blocks_free_;
  prometheus::Gauge& kv_blocks_used_;
  prometheus::Histogram& time_to_first_token_;
  prometheus::Histogram& request_queue_;
  prometheus::Histogram& request_total_;
  prometheus::Histogram& step_duration_;
  prometheus::Histogram& step_tokens_;
};

}  // namespace peerage
