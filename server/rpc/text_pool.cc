#include "server/rpc/text_pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/retry_delay.h"
#include "server/engine/waiting_counts.h"

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

void TextPool::Run(const std::string& name, size_t bytes, Task task) {
  if (bytes <= options_.at_once_bytes) return task(absl::OkStatus());
  absl::Status refusal;
  {
    absl::MutexLock lock(&mu_);
    const auto found = callers_.find(name);
    const bool is_new = found == callers_.end();
    const auto num_callers = static_cast<int64_t>(callers_.size()) + (is_new ? 1 : 0);
    if (HasRoom(1, num_bounded_, is_new ? 0 : found->second.num_bounded, options_.max_waiting,
                num_callers)) {
      Add(callers_[name], bytes, /*bounded=*/true,
          [task = std::move(task)] { task(absl::OkStatus()); });
      return;
    }
    refusal =
        absl::ResourceExhaustedError(absl::StrCat(num_bounded_, " texts wait to be read already"));
  }
  SetRetryDelay(refusal, kRetrySoon);
  task(refusal);
}

void TextPool::RunInTurn(const std::string& name, size_t bytes, std::function<void()> task) {
  if (bytes <= options_.at_once_bytes) return task();
  absl::MutexLock lock(&mu_);
  Add(callers_[name], bytes, /*bounded=*/false, std::move(task));
}

void TextPool::Add(Caller& caller, size_t bytes, bool bounded, std::function<void()> task) {
  const size_t begin = caller.tasks.empty() ? now_ : caller.tasks.back().end;
  caller.tasks.push_back({std::move(task), bounded, begin + bytes});
  caller.num_bounded += bounded ? 1 : 0;
  num_bounded_ += bounded ? 1 : 0;
  changed_.Signal();
}

int TextPool::num_waiting() const {
  absl::MutexLock lock(&mu_);
  size_t waiting = 0;
  for (const auto& [name, caller] : callers_) waiting += caller.tasks.size();
  return static_cast<int>(waiting);
}

void TextPool::Loop() {
  while (const std::function<void()> task = Next()) task();
}

std::function<void()> TextPool::Next() {
  absl::MutexLock lock(&mu_);
  while (callers_.empty() && !ending_) changed_.Wait(&mu_);
  if (callers_.empty()) return nullptr;
  const auto chosen =
      std::min_element(callers_.begin(), callers_.end(), [](const auto& a, const auto& b) {
        return a.second.tasks.front().end < b.second.tasks.front().end;
      });
  Caller& caller = chosen->second;
  Waiting next = std::move(caller.tasks.front());
  caller.tasks.pop_front();
  now_ = next.end;
  caller.num_bounded -= next.bounded ? 1 : 0;
  num_bounded_ -= next.bounded ? 1 : 0;
  if (caller.tasks.empty()) callers_.erase(chosen);
  return std::move(next.task);
}

}  // namespace peerage
