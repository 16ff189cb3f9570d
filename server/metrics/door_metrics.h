#pragma once

#include <prometheus/collectable.h>

#include <memory>
#include <string>

#include "server/door/door_observer.h"

namespace peerage {

// What happens at the door. Every series is there from the start.
//
// Threads: safe from many threads; an event costs an atomic addition.
class DoorMetrics final : public DoorObserver {
 public:
  explicit DoorMetrics(const std::string& model_name);
  ~DoorMetrics() override;

  void OnConnected() override;
  void OnDisconnected() override;
  void OnRefusal(Refusal refusal) override;

  const prometheus::Collectable& collectable() const;

 private:
  class Table;
  const std::unique_ptr<Table> table_;
};

}  // namespace peerage
