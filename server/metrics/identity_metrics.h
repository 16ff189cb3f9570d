#pragma once

#include <prometheus/collectable.h>

#include <string>
#include <vector>

#include "server/identity/authorizer.h"

namespace peerage {

// How often the server let somebody do something or refused it, by method and decision. Names of
// callers are no labels: the log has them.
//
// Threads: safe from many.
class IdentityMetrics final : public prometheus::Collectable {
 public:
  // `authorizer` must outlive it.
  IdentityMetrics(std::string model_name, const Authorizer* authorizer)
      : model_name_(std::move(model_name)), authorizer_(authorizer) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::string model_name_;
  const Authorizer* const authorizer_;
};

}  // namespace peerage
