#pragma once

#include <cstdlib>

#include "absl/types/span.h"
#include "server/engine/observer.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/ledger.h"

namespace peerage {

// Puts what is told into the ledger, and a request's end before its reader. The id of a request is
// its handle.
class Watcher final : public EngineObserver {
 public:
  Watcher(Ledger* ledger, absl::Span<const Client> clients) : ledger_(*ledger), clients_(clients) {}

  void OnStep(const StepEvent& event) override { ledger_.last_step = event; }
  void OnStepFailed(const absl::Status&) override { ++ledger_.failed_steps; }
  void OnTokens(const TokensEvent& event) override {
    ledger_.told.prompt += event.prompt;
    ledger_.told.generated += event.generated;
    ledger_.told.scored += event.scored;
    ledger_.told.prefix_queried += event.prefix_queried;
    ledger_.told.prefix_hit += event.prefix_hit;
    ledger_.told.recomputed += event.recomputed;
    ledger_.told.preemptions += event.preemptions;
    ledger_.told_inter_tokens += static_cast<int64_t>(event.inter_token_seconds.size());
  }
  void OnRequestDone(const RequestEvent& event) override {
    ledger_.tokens_told_late |= ledger_.told.generated != ledger_.generated;
    const size_t handle = std::strtoull(event.origin.request_id.c_str(), nullptr, 10);
    clients_[handle - 1].reader->CheckUsage(event);
  }

 private:
  Ledger& ledger_;
  const absl::Span<const Client> clients_;
};

}  // namespace peerage
