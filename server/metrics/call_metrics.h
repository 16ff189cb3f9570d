#pragma once

#include <prometheus/collectable.h>

#include <memory>
#include <string>
#include <vector>

#include "server/engine/observer.h"

namespace peerage {

// How long gRPC's calls take, by method and status, with the names and buckets of gRFC A66.
// A method has its series with OK from the start; one with another status is there from its first
// call on, because methods times statuses times buckets would be thousands that stay 0.
//
// Threads: safe from many threads; an event costs a short lock.
class CallMetrics final : public EngineObserver {
 public:
  // Calls of other methods are `other`: their names are a stranger's.
  CallMetrics(const std::string& model_name, const std::vector<std::string>& methods);
  ~CallMetrics() override;

  void OnCallDone(const CallEvent& event) override;

  const prometheus::Collectable& collectable() const;

 private:
  class Table;
  const std::unique_ptr<Table> table_;
};

}  // namespace peerage
