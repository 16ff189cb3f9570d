#pragma once

#include <prometheus/collectable.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace peerage {

// How often files that change while the server runs could not be read anew. Threads: safe from
// many.
class ReloadMetrics final : public prometheus::Collectable {
 public:
  explicit ReloadMetrics(std::string model_name) : model_name_(std::move(model_name)) {}

  // Files that are read anew ("certificates"): they are counted from here on.
  void Add(const std::string& files) ABSL_LOCKS_EXCLUDED(mu_);
  void OnFailure(const std::string& files) ABSL_LOCKS_EXCLUDED(mu_);

  std::vector<prometheus::MetricFamily> Collect() const override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const std::string model_name_;
  mutable absl::Mutex mu_;
  std::map<std::string, int64_t> failures_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
