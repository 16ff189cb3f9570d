#pragma once

#include <prometheus/collectable.h>

#include <string>
#include <utility>
#include <vector>

#include "server/door/tls_context.h"

namespace peerage {

// When the certificates that the server shows expire. Threads: safe from many.
class TlsMetrics final : public prometheus::Collectable {
 public:
  // `tls` must outlive it.
  TlsMetrics(std::string model_name, const CurrentTls* tls)
      : model_name_(std::move(model_name)), tls_(tls) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::string model_name_;
  const CurrentTls* const tls_;
};

}  // namespace peerage
