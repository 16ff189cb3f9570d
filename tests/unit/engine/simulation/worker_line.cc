#include "tests/unit/engine/simulation/worker_line.h"

#include <algorithm>

namespace peerage {

void WorkerLine::AfterAdmission(LiveClients clients, const Scheduler& scheduler, absl::Time now) {
  for (Client* const client : clients) {
    const bool is_here =
        client->reader->done() ? !client->line.left : scheduler.Has(client->arrival->handle);
    const bool is_member = std::find(members_.begin(), members_.end(), client) != members_.end();
    if (!is_here || is_member) continue;
    coverage_.rejoined += client->line.joined;
    client->line = {};
    members_.push_back(client);
  }
  rules_.AfterAdmission(members_, scheduler.reservations(), now);
}

void WorkerLine::AfterTurn(const Scheduler& scheduler, absl::Time now) {
  rules_.AfterTurn(members_, scheduler.reservations(), now);
  members_.erase(std::remove_if(members_.begin(), members_.end(),
                                [](const Client* client) { return client->reader->done(); }),
                 members_.end());
}

}  // namespace peerage
