#pragma once

#include <memory>
#include <thread>

#include "server/engine/inbox.h"
#include "server/engine/scheduler.h"
#include "server/engine/worker.h"

namespace peerage {

// One model with everything that drives it: inbox, scheduler, worker and thread.
//
// Threads: safe from many threads; Stop and the destructor are for one.
class Replica {
 public:
  // `parts` says all but the model and the inbox, which are the replica's.
  Replica(std::unique_ptr<LanguageModel> model, const WorkerParts& parts,
          const SchedulerOptions& options, const InboxLimits& limits);
  ~Replica();

  Inbox& inbox() { return inbox_; }
  const Inbox& inbox() const { return inbox_; }
  WorkerStatus status() const { return worker_.status(); }

  // Ends every request with UNAVAILABLE, runs the errands that were accepted, and joins the thread.
  // Idempotent.
  void Stop();

 private:
  const std::unique_ptr<LanguageModel> model_;  // the worker's
  Inbox inbox_;
  Worker worker_;
  std::thread thread_;
};

}  // namespace peerage
