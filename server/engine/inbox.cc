#include "server/engine/inbox.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/engine/retry_delay.h"

namespace peerage {
namespace {

constexpr absl::Duration kDrainWindow = absl::Seconds(1);
constexpr absl::Duration kRetryAtFirst = absl::Seconds(1);  // while the pace is not known
constexpr absl::Duration kShortestRetry = absl::Milliseconds(50);
constexpr absl::Duration kLongestRetry = absl::Minutes(1);

}  // namespace

void Inbox::Drain::Add(int64_t count, bool others_wait, absl::Time now) {
  requests += count;
  const absl::Duration passed = now - begin;
  if (passed < kDrainWindow || (requests == 0 && others_wait)) return;
  requests_per_second = static_cast<double>(requests) / absl::ToDoubleSeconds(passed);
  requests = 0;
  begin = now;
}

absl::Status Inbox::Add(std::unique_ptr<Task>&& task) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(refusal_);
  if (absl::Status status = CheckRoom(*task); !status.ok()) {
    SetRetryDelay(status, RetryDelay());
    return status;
  }
  unfinished_ += LoadOf(*task);
  Arrive(std::move(task));
  return absl::OkStatus();
}

void Inbox::TakeOver(std::unique_ptr<Task> task) {
  absl::MutexLock lock(&mu_);
  unfinished_ += LoadOf(*task);
  Arrive(std::move(task));
}

void Inbox::PutBack(std::unique_ptr<Task> task) {
  absl::MutexLock lock(&mu_);
  Arrive(std::move(task));
}

void Inbox::Arrive(std::unique_ptr<Task> task) {
  waiting_.Add(BeginsToWait(*task));
  mail_.arrivals.push_back(std::move(task));
  Notify();
}

absl::Status Inbox::CheckRoom(const Task& task) const {
  const Waiting& all = waiting_.all();
  const Waiting own = waiting_.Of(task.sharer);
  const int64_t tenants = waiting_.num_tenants() + (own.requests == 0 ? 1 : 0);
  if (!HasRoom(1, all.requests, own.requests, limits_.requests, tenants)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", all.requests, " requests are waiting"));
  }
  if (!HasRoom(task.prompt_tokens, all.prompt_tokens, own.prompt_tokens, limits_.prompt_tokens,
               tenants)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", all.prompt_tokens, " prompt tokens are waiting, with ",
                     task.prompt_tokens, " more they would be more than ", limits_.prompt_tokens));
  }
  return absl::OkStatus();
}

absl::Duration Inbox::RetryDelay() const {
  // Whatever the pace was, it is no faster than if one ceased to wait right now.
  const double seconds = absl::ToDoubleSeconds(clock_->Now() - drain_.begin);
  const double most = static_cast<double>(drain_.requests + 1) / std::max(seconds, 1e-9);
  const bool is_known = drain_.requests_per_second > 0;
  if (!is_known && seconds < absl::ToDoubleSeconds(kDrainWindow)) return kRetryAtFirst;
  const double pace = is_known ? std::min(drain_.requests_per_second, most) : most;
  const absl::Duration delay = absl::Seconds(static_cast<double>(waiting_.all().requests) / pace);
  return std::clamp(delay, kShortestRetry, kLongestRetry);
}

void Inbox::Cancel(RequestHandle handle) {
  absl::MutexLock lock(&mu_);
  mail_.cancelled.push_back(handle);
  Notify();
}

void Inbox::EndAll(absl::Status status) {
  absl::MutexLock lock(&mu_);
  mail_.end_all = std::move(status);
  Notify();
}

void Inbox::Wake() {
  absl::MutexLock lock(&mu_);
  Notify();
}

absl::Status Inbox::Run(WorkerTask errand) {
  absl::MutexLock lock(&mu_);
  if (shut_down_) return absl::UnavailableError("the server is stopping");
  errands_.push_back(std::move(errand));
  Notify();
  return absl::OkStatus();
}

absl::Status Inbox::CheckErrandRoom() const {
  absl::MutexLock lock(&mu_);
  return errands_.size() < kMostErrands ? absl::OkStatus() : TooManyErrands();
}

absl::Status Inbox::TooManyErrands() {
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat(kMostErrands, " reads and resets of expert usage wait already"));
  SetRetryDelay(status, kRetrySoon);
  return status;
}

void Inbox::Close() {
  absl::MutexLock lock(&mu_);
  CloseLocked();
}

void Inbox::Fail(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  refusal_ = status;
  mail_.end_all = status;
  Notify();
}

bool Inbox::WaitUntilAllDone(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  while (unfinished_.requests > 0) {
    const absl::Duration left = deadline - clock_->Now();
    if (left <= absl::ZeroDuration()) return false;
    progressed_.WaitWithTimeout(&mu_, left);
  }
  return true;
}

InboxLoad Inbox::load() const {
  absl::MutexLock lock(&mu_);
  return unfinished_;
}

int64_t Inbox::waiting_prompt_tokens() const {
  absl::MutexLock lock(&mu_);
  return waiting_.all().prompt_tokens;
}

int32_t Inbox::num_waiting() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int32_t>(waiting_.all().requests);
}

absl::Status Inbox::CheckOpen() const {
  absl::MutexLock lock(&mu_);
  return refusal_;
}

Mail Inbox::Take() {
  absl::MutexLock lock(&mu_);
  Mail taken = TakeRequestsLocked();
  if (!errands_.empty()) {
    taken.errand = std::move(errands_.front());
    errands_.pop_front();
  }
  has_mail_ = !errands_.empty();
  return taken;
}

Mail Inbox::TakeRequests() {
  absl::MutexLock lock(&mu_);
  Mail taken = TakeRequestsLocked();
  waiting_ = WaitingCounts();
  return taken;
}

Mail Inbox::TakeRequestsLocked() {
  Mail taken{.end_all = mail_.end_all};
  taken.arrivals.swap(mail_.arrivals);
  taken.cancelled.swap(mail_.cancelled);
  return taken;
}

void Inbox::Count(absl::Span<const WaitingChange> changes) {
  absl::MutexLock lock(&mu_);
  int64_t ceased = 0;
  for (const WaitingChange& change : changes) {
    waiting_.Add(change);
    ceased -= change.more.requests;
  }
  // Who was preempted waits again.
  drain_.Add(std::max<int64_t>(ceased, 0), waiting_.all().requests > 0, clock_->Now());
}

void Inbox::Done(const InboxLoad& ended) {
  absl::MutexLock lock(&mu_);
  unfinished_ -= ended;
  progressed_.SignalAll();
}

void Inbox::WaitForMail(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  while (!has_mail_ && !IsFinished()) {
    const absl::Duration left = deadline - clock_->Now();
    if (left <= absl::ZeroDuration()) return;
    mail_arrived_.WaitWithTimeout(&mu_, left);
  }
}

void Inbox::Shutdown() {
  absl::MutexLock lock(&mu_);
  CloseLocked();
  shut_down_ = true;
  Notify();
}

bool Inbox::finished() const {
  absl::MutexLock lock(&mu_);
  return IsFinished();
}

void Inbox::CloseLocked() {
  if (refusal_.ok()) refusal_ = absl::UnavailableError("the server is draining");
}

bool Inbox::IsFinished() const {
  return shut_down_ && unfinished_.requests == 0 && errands_.empty();
}

void Inbox::Notify() {
  has_mail_ = true;
  mail_arrived_.Signal();
  progressed_.SignalAll();
}

}  // namespace peerage
