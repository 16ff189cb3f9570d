// How a worker's model ends before the worker does.
#include <unordered_set>
#include <utility>

#include "server/engine/worker.h"

namespace peerage {

void Worker::FailStep(const Batch& batch, const absl::Status& status) {
  // What went wrong is the operator's to know, and may name files.
  parts_.observer->OnStepFailed(status);
  const bool is_lost = status.code() == absl::StatusCode::kUnavailable;
  const absl::Status failure = is_lost ? status : absl::InternalError("the model failed");
  if (is_lost || parts_.ends_at_failure) {
    for (const auto& task : scheduler_.running()) task->Fail(failure);
    FailModel(failure);
    return;
  }
  for (const ScheduledChunk& chunk : batch.chunks) chunk.sequence->task->Fail(failure);
  for (const Sequence* sequence : batch.started) sequence->task->Fail(failure);
}

// What still waits for a model that is lost ends at the next turn.
void Worker::FailModel(const absl::Status& status) {
  failure_ = status;
  const bool is_lost = status.code() == absl::StatusCode::kUnavailable;
  if (is_lost) {
    absl::MutexLock lock(&mu_);
    status_.lost = status;
  }
  if (parts_.on_failed) parts_.on_failed(status);
  if (is_lost) parts_.inbox->Fail(status);
}

std::vector<std::unique_ptr<Task>> Worker::GiveUpWaiting(const absl::Status& status,
                                                         absl::Time now) {
  Mail mail = parts_.inbox->TakeRequests();
  std::vector<std::unique_ptr<Task>> waiting = scheduler_.TakeUnstarted(status, now);
  for (std::unique_ptr<Task>& task : mail.arrivals) waiting.push_back(std::move(task));
  const std::unordered_set<RequestHandle> cancelled(mail.cancelled.begin(), mail.cancelled.end());
  std::vector<std::unique_ptr<Task>> left;
  for (std::unique_ptr<Task>& task : waiting) {
    const RequestHandle handle = task->handle;
    if (cancelled.count(handle) > 0) {
      scheduler_.Add(std::move(task), now);
      scheduler_.Cancel(handle, now);
    } else {
      left.push_back(std::move(task));
    }
  }
  scheduler_.TakeWaitingChanges();  // of what the inbox does not count any more
  return left;
}

absl::Time Worker::step_since() const {
  absl::MutexLock lock(&mu_);
  return step_since_;
}

bool Worker::Abandon(absl::Time begun_by) {
  absl::MutexLock lock(&mu_);
  if (abandoned_ || step_since_ > begun_by) return false;
  abandoned_ = true;
  return true;
}

void Worker::EndAbandoned(const absl::Status& status, absl::Time now) {
  ReportTokens();
  InboxLoad done;
  for (const auto& task : scheduler_.running()) {
    Announce(*task, status, now);
    task->delivery->LetGoOfSink();
    done += LoadOf(*task);
  }
  AnnounceEnded(now);  // what was waiting again
  parts_.inbox->Done(done);
}

bool Worker::abandoned() const {
  absl::MutexLock lock(&mu_);
  return abandoned_;
}

}  // namespace peerage
