#include "server/rpc/text_pool.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/retry_delay.h"

namespace peerage {

TextPool::TextPool(const TextPoolOptions& options) : options_(options) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Loop(); });
}

TextPool::~TextPool() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void TextPool::Run(size_t bytes, Task task) {
  if (bytes <= options_.at_once_bytes) return task(absl::OkStatus());
  {
    absl::MutexLock lock(&mu_);
    if (num_bounded_ < options_.max_waiting) {
      ++num_bounded_;
      tasks_.push_back({[task = std::move(task)] { task(absl::OkStatus()); }, /*bounded=*/true});
      changed_.Signal();
      return;
    }
  }
  absl::Status refusal = absl::ResourceExhaustedError(
      absl::StrCat(options_.max_waiting, " texts wait to be read already"));
  SetRetryDelay(refusal, kRetrySoon);
  task(refusal);
}

void TextPool::RunInTurn(size_t bytes, std::function<void()> task) {
  if (bytes <= options_.at_once_bytes) return task();
  absl::MutexLock lock(&mu_);
  tasks_.push_back({std::move(task), /*bounded=*/false});
  changed_.Signal();
}

int TextPool::num_waiting() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int>(tasks_.size());
}

void TextPool::Loop() {
  while (const std::function<void()> task = Next()) task();
}

std::function<void()> TextPool::Next() {
  absl::MutexLock lock(&mu_);
  while (tasks_.empty() && !ending_) changed_.Wait(&mu_);
  if (tasks_.empty()) return nullptr;
  Waiting next = std::move(tasks_.front());
  tasks_.pop_front();
  num_bounded_ -= next.bounded ? 1 : 0;
  return std::move(next.task);
}

}  // namespace peerage
