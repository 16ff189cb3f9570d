#pragma once

#include <memory>
#include <string>

#include "server/engine/observer.h"

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
// closed set and every series exists from the start, so rates are right from the first scrape. A
// new series is a row in one of the tables of the source.
//
// Threads: safe from many threads; an event costs a few atomic additions and short locks.
class EngineMetrics : public EngineObserver {
 public:
  // Of TextExposition.
  static constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";

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
  struct Tables;
  const std::unique_ptr<Tables> tables_;
};

}  // namespace peerage
