#pragma once

#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace peerage {

// The messages of one streaming call, in order: at most one write is outstanding, and one Finish
// comes after the last. Every call returns what its caller has to do next, outside the queue's
// lock: kWrite starts the write of current(), kFinish finishes the call with status().
//
// Bounded by weight (of tokens, or of answers): HasRoom is false from `capacity` on. Nothing is
// refused all the same, since what the engine has computed in its step must go somewhere; whoever
// produces looks at HasRoom first.
//
// Threads: safe from many.
template <typename Message>
class WriteQueue {
 public:
  enum class Action { kNothing, kWrite, kFinish };

  explicit WriteQueue(int capacity) : capacity_(capacity) {}

  // Messages after a failed write or the Finish are dropped: nobody will read them.
  [[nodiscard]] Action Push(Message message, int weight) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (broken_ || finished_) return Action::kNothing;
    queue_.push_back({std::move(message), weight});
    weight_ += weight;
    return Next();
  }

  // The call ends with `status` once what waits is written. The first Close counts.
  [[nodiscard]] Action Close(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (!status_.has_value()) status_ = std::move(status);
    return Next();
  }

  // The outstanding write has ended; `ok` is false when the peer is gone.
  [[nodiscard]] Action WriteDone(bool ok) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    weight_ -= queue_.front().weight;
    queue_.pop_front();
    if (!ok) {
      broken_ = true;
      queue_.clear();
      weight_ = 0;
    }
    return Next();
  }

  bool HasRoom() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (weight_ >= capacity_) refused_ = true;
    return weight_ < capacity_;
  }

  // True once when there is room again after HasRoom was false: time to wake the producer.
  bool TakeRoomAgain() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (!refused_ || weight_ >= capacity_) return false;
    refused_ = false;
    return true;
  }

  // Stays in place until WriteDone. Precondition: the last action was kWrite.
  const Message& current() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return queue_.front().message;
  }

  // Whether the message behind current() waits already, so that the two may leave together.
  // Precondition: as current's.
  bool more_waits() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return queue_.size() > 1;
  }

  // Precondition: an action was kFinish.
  absl::Status status() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return *status_;
  }

 private:
  struct Entry {
    Message message;
    int weight;
  };

  Action Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (writing_ || finished_) return Action::kNothing;
    if (!queue_.empty()) {
      writing_ = true;
      return Action::kWrite;
    }
    finished_ = status_.has_value();
    return finished_ ? Action::kFinish : Action::kNothing;
  }

  const int capacity_;
  mutable absl::Mutex mu_;
  std::deque<Entry> queue_ ABSL_GUARDED_BY(mu_);  // while writing, the front is being written
  int weight_ ABSL_GUARDED_BY(mu_) = 0;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  mutable bool refused_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
