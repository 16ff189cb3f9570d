#include "server/engine/request_queue.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/engine/deadline.h"

namespace peerage {

absl::Status RequestQueue::Add(std::unique_ptr<RunningRequest> request) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(refusal_);
  if (static_cast<int64_t>(waiting_.size()) >= capacity_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", capacity_, " requests are waiting"));
  }
  const Key key(request->scheduling().priority, request->handle());
  waiting_.emplace(key, std::move(request));
  ++unfinished_;
  Notify();
  return absl::OkStatus();
}

void RequestQueue::Cancel(RequestHandle handle) {
  absl::MutexLock lock(&mu_);
  cancelled_.push_back(handle);
  Notify();
}

void RequestQueue::CancelAll(absl::Status status) {
  absl::MutexLock lock(&mu_);
  cancel_all_ = std::move(status);
  Notify();
}

void RequestQueue::Wake() {
  absl::MutexLock lock(&mu_);
  Notify();
}

absl::Status RequestQueue::RunOnWorker(WorkerTask task) {
  absl::MutexLock lock(&mu_);
  if (shut_down_) return absl::UnavailableError("the server is stopping");
  tasks_.push_back(std::move(task));
  Notify();
  return absl::OkStatus();
}

void RequestQueue::Close() {
  absl::MutexLock lock(&mu_);
  CloseLocked();
}

void RequestQueue::Fail(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  refusal_ = status;
  cancel_all_ = status;
  Notify();
}

bool RequestQueue::WaitUntilAllDone(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  while (unfinished_ > 0) {
    const absl::Duration left = deadline - clock_->Now();
    if (left <= absl::ZeroDuration()) return false;
    progressed_.WaitWithTimeout(&mu_, left);
  }
  return true;
}

int32_t RequestQueue::num_waiting() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int32_t>(waiting_.size());
}

absl::Status RequestQueue::CheckOpen() const {
  absl::MutexLock lock(&mu_);
  return refusal_;
}

int64_t RequestQueue::waiting_prompt_tokens() const {
  absl::MutexLock lock(&mu_);
  int64_t tokens = 0;
  for (const auto& [key, request] : waiting_) tokens += request->prompt_tokens();
  return tokens;
}

QueueNews RequestQueue::TakeNews(absl::Time now) {
  absl::MutexLock lock(&mu_);
  has_news_ = false;
  QueueNews news{.cancelled = std::exchange(cancelled_, {}),
                 .cancel_all = cancel_all_,
                 .tasks = std::exchange(tasks_, {})};
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const auto cancelled =
        std::find(news.cancelled.begin(), news.cancelled.end(), it->second->handle());
    absl::Status status = cancel_all_;
    if (status.ok() && cancelled != news.cancelled.end()) {
      const absl::Time arrival = it->second->timeline().arrival;
      status = CancelledAt(now, arrival, it->second->scheduling().deadline);
      news.cancelled.erase(cancelled);
    }
    if (status.ok()) status = CheckMayStart(it->second->scheduling(), now);
    if (status.ok()) {
      ++it;
      continue;
    }
    news.ended.push_back({std::move(it->second), std::move(status)});
    it = waiting_.erase(it);
  }
  return news;
}

std::unique_ptr<RunningRequest> RequestQueue::TakeFrontIf(
    absl::FunctionRef<bool(const RunningRequest&)> wanted) {
  absl::MutexLock lock(&mu_);
  if (waiting_.empty() || !wanted(*waiting_.begin()->second)) return nullptr;
  std::unique_ptr<RunningRequest> request = std::move(waiting_.begin()->second);
  waiting_.erase(waiting_.begin());
  return request;
}

void RequestQueue::Done() {
  absl::MutexLock lock(&mu_);
  --unfinished_;
  progressed_.SignalAll();
}

void RequestQueue::WaitForNews(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  deadline = std::min(deadline, EarliestExpiry());
  while (!has_news_ && !IsFinished()) {
    const absl::Duration left = deadline - clock_->Now();
    if (left <= absl::ZeroDuration()) return;
    news_arrived_.WaitWithTimeout(&mu_, left);
  }
}

void RequestQueue::Shutdown() {
  absl::MutexLock lock(&mu_);
  CloseLocked();
  shut_down_ = true;
  Notify();
}

bool RequestQueue::finished() const {
  absl::MutexLock lock(&mu_);
  return IsFinished();
}

void RequestQueue::CloseLocked() {
  if (refusal_.ok()) refusal_ = absl::UnavailableError("the server is draining");
}

bool RequestQueue::IsFinished() const { return shut_down_ && unfinished_ == 0 && tasks_.empty(); }

void RequestQueue::Notify() {
  has_news_ = true;
  news_arrived_.Signal();
  progressed_.SignalAll();
}

absl::Time RequestQueue::EarliestExpiry() const {
  absl::Time earliest = absl::InfiniteFuture();
  for (const auto& [key, request] : waiting_) {
    const SchedulingParams& scheduling = request->scheduling();
    earliest = std::min({earliest, scheduling.deadline, scheduling.queue_deadline});
  }
  return earliest;
}

}  // namespace peerage
