#include "server/engine/replica.h"

#include <utility>

namespace peerage {
namespace {

WorkerParts WithOwn(WorkerParts parts, LanguageModel* model, Inbox* inbox) {
  parts.model = model;
  parts.inbox = inbox;
  return parts;
}

}  // namespace

Replica::Replica(std::unique_ptr<LanguageModel> model, const WorkerParts& parts,
                 const SchedulerOptions& options, const InboxLimits& limits)
    : model_(std::move(model)),
      inbox_(limits, parts.clock),
      worker_(WithOwn(parts, model_.get(), &inbox_), options),
      thread_([this] { worker_.Run(); }) {}

Replica::~Replica() { Stop(); }

void Replica::Stop() {
  if (!thread_.joinable()) return;
  inbox_.Close();
  inbox_.EndAll(absl::UnavailableError("the server is stopping"));
  inbox_.Shutdown();
  thread_.join();
}

}  // namespace peerage
