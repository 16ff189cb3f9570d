#include "server/engine/inbox.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {

absl::Status Inbox::Add(std::unique_ptr<Task> task) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(refusal_);
  if (NumWaiting() >= capacity_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", capacity_, " requests are waiting"));
  }
  mail_.arrivals.push_back(std::move(task));
  ++unfinished_;
  Notify();
  return absl::OkStatus();
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
  mail_.errands.push_back(std::move(errand));
  Notify();
  return absl::OkStatus();
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
  while (unfinished_ > 0) {
    const absl::Duration left = deadline - clock_->Now();
    if (left <= absl::ZeroDuration()) return false;
    progressed_.WaitWithTimeout(&mu_, left);
  }
  return true;
}

int32_t Inbox::num_waiting() const {
  absl::MutexLock lock(&mu_);
  return NumWaiting();
}

absl::Status Inbox::CheckOpen() const {
  absl::MutexLock lock(&mu_);
  return refusal_;
}

Mail Inbox::Take() {
  absl::MutexLock lock(&mu_);
  has_mail_ = false;
  taken_and_waiting_ += static_cast<int32_t>(mail_.arrivals.size());
  Mail taken{.end_all = mail_.end_all};
  taken.arrivals.swap(mail_.arrivals);
  taken.cancelled.swap(mail_.cancelled);
  taken.errands.swap(mail_.errands);
  return taken;
}

void Inbox::SetWaiting(int32_t taken_and_waiting) {
  absl::MutexLock lock(&mu_);
  taken_and_waiting_ = taken_and_waiting;
}

void Inbox::Done(int64_t requests) {
  absl::MutexLock lock(&mu_);
  unfinished_ -= requests;
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

int32_t Inbox::NumWaiting() const {
  return taken_and_waiting_ + static_cast<int32_t>(mail_.arrivals.size());
}

void Inbox::CloseLocked() {
  if (refusal_.ok()) refusal_ = absl::UnavailableError("the server is draining");
}

bool Inbox::IsFinished() const { return shut_down_ && unfinished_ == 0 && mail_.errands.empty(); }

void Inbox::Notify() {
  has_mail_ = true;
  mail_arrived_.Signal();
  progressed_.SignalAll();
}

}  // namespace peerage
