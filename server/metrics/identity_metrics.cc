#include "server/metrics/identity_metrics.h"

#include <prometheus/metric_family.h>

#include <utility>

#include "server/identity/decision.h"

namespace peerage {

std::vector<prometheus::MetricFamily> IdentityMetrics::Collect() const {
  prometheus::MetricFamily family;
  family.name = "peerage_identity_decisions_total";
  family.help = "What was decided about calls and what they ask for, by method.";
  family.type = prometheus::MetricType::Counter;
  for (const auto& [counted, count] : authorizer_->Counts()) {
    prometheus::ClientMetric metric;
    metric.label = {{"model_name", model_name_},
                    {"grpc_method", counted.first},
                    {"decision", std::string(DecisionName(counted.second))}};
    metric.counter.value = static_cast<double>(count);
    family.metric.push_back(std::move(metric));
  }
  return {std::move(family)};
}

}  // namespace peerage
