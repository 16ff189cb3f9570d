#include "server/metrics/reload_metrics.h"

#include <prometheus/metric_family.h>

namespace peerage {

void ReloadMetrics::Add(const std::string& files) {
  absl::MutexLock lock(&mu_);
  failures_.emplace(files, 0);
}

void ReloadMetrics::OnFailure(const std::string& files) {
  absl::MutexLock lock(&mu_);
  ++failures_[files];
}

std::vector<prometheus::MetricFamily> ReloadMetrics::Collect() const {
  prometheus::MetricFamily family;
  family.name = "peerage_identity_reload_failures_total";
  family.help = "Tries at reading changed files anew that failed: one a second until it succeeds.";
  family.type = prometheus::MetricType::Counter;
  absl::MutexLock lock(&mu_);
  for (const auto& [files, count] : failures_) {
    prometheus::ClientMetric metric;
    metric.label = {{"model_name", model_name_}, {"files", files}};
    metric.counter.value = static_cast<double>(count);
    family.metric.push_back(std::move(metric));
  }
  if (family.metric.empty()) return {};
  return {std::move(family)};
}

}  // namespace peerage
