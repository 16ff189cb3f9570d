#include "server/metrics/tls_metrics.h"

#include <prometheus/metric_family.h>

#include <memory>

#include "absl/time/time.h"

namespace peerage {

std::vector<prometheus::MetricFamily> TlsMetrics::Collect() const {
  prometheus::MetricFamily family;
  family.name = "peerage_tls_certificate_expiry_timestamp_seconds";
  family.help = "When the first of the certificates that the server shows expires.";
  family.type = prometheus::MetricType::Gauge;
  if (const std::shared_ptr<const TlsContext> context = tls_->Get()) {
    prometheus::ClientMetric metric;
    metric.label = {{"model_name", model_name_}};
    metric.gauge.value = absl::ToDoubleSeconds(context->expiry() - absl::UnixEpoch());
    family.metric = {metric};
  }
  return {family};
}

}  // namespace peerage
