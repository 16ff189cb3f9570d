#include "server/metrics/door_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <array>

namespace peerage {

class DoorMetrics::Table {
 public:
  explicit Table(const std::string& model_name)
      : connections(prometheus::BuildGauge()
                        .Name("peerage_door_connections")
                        .Help("Connections that were let in and have not ended.")
                        .Register(registry)
                        .Add({{"model_name", model_name}})),
        accepted(prometheus::BuildCounter()
                     .Name("peerage_door_connections_total")
                     .Help("Connections that were let in.")
                     .Register(registry)
                     .Add({{"model_name", model_name}})) {
    auto& family = prometheus::BuildCounter()
                       .Name("peerage_door_refusals_total")
                       .Help("Connections not let in or ended, and calls turned away, by reason.")
                       .Register(registry);
    for (int i = 0; i < kRefusals; ++i) {
      const std::string reason(TextOf(static_cast<Refusal>(i)).label);
      refusals[i] = &family.Add({{"model_name", model_name}, {"reason", reason}});
    }
  }

  prometheus::Registry registry;
  prometheus::Gauge& connections;
  prometheus::Counter& accepted;
  std::array<prometheus::Counter*, kRefusals> refusals;
};

DoorMetrics::DoorMetrics(const std::string& model_name)
    : table_(std::make_unique<Table>(model_name)) {}

DoorMetrics::~DoorMetrics() = default;

void DoorMetrics::OnConnected() {
  table_->connections.Increment();
  table_->accepted.Increment();
}

void DoorMetrics::OnDisconnected() { table_->connections.Decrement(); }

void DoorMetrics::OnRefusal(Refusal refusal) {
  table_->refusals[static_cast<int>(refusal)]->Increment();
}

const prometheus::Collectable& DoorMetrics::collectable() const { return table_->registry; }

}  // namespace peerage
