#pragma once

#include <prometheus/collectable.h>

#include <string>
#include <vector>

namespace peerage {

// The process_* series that Prometheus' clients have by convention, read from /proc/self at each
// scrape.
//
// Threads: safe from many.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  explicit ProcessMetrics(std::string model_name) : model_name_(std::move(model_name)) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::string model_name_;
};

}  // namespace peerage
