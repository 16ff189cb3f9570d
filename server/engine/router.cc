#include "server/engine/router.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/types/span.h"
#include "model/token.h"
#include "server/engine/retry_delay.h"

namespace peerage {
namespace {

// What comes first and is computed once.
absl::Span<const TokenId> BeginningOf(const Work& work) {
  if (!work.trunk.empty() || work.branches.size() != 1) return work.trunk;
  return work.branches.front().tokens;
}

}  // namespace

void Router::AddWorker(Inbox* inbox) {
  absl::MutexLock lock(&mu_);
  workers_.push_back({.inbox = inbox});
}

absl::Status Router::Submit(std::unique_ptr<Task> task) {
  const std::vector<uint64_t> hashes = HashesOf(*task);
  absl::MutexLock lock(&mu_);
  absl::Status first;
  for (const int worker : Order(hashes)) {
    const absl::Status refusal = workers_[worker].inbox->Add(std::move(task));
    if (refusal.ok()) {
      last_ = worker;
      Remember(hashes, worker);
      return absl::OkStatus();
    }
    if (first.ok() || RetryDelayOf(refusal) < RetryDelayOf(first)) first = refusal;
  }
  return first;
}

void Router::Cancel(RequestHandle handle) {
  absl::MutexLock lock(&mu_);
  for (const Worker& worker : workers_) worker.inbox->Cancel(handle);
}

bool Router::SetState(int worker, WorkerState state) {
  absl::MutexLock lock(&mu_);
  workers_[worker].state = state;
  for (Prefix& prefix : prefixes_) prefix.workers &= ~(uint64_t{1} << worker);
  for (const Worker& each : workers_) {
    if (each.state > state) each.inbox->Wake();
  }
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& each) { return each.state == WorkerState::kLost; });
}

void Router::MoveAway(int worker, absl::FunctionRef<std::vector<std::unique_ptr<Task>>()> take) {
  absl::MutexLock lock(&mu_);
  Inbox& from = *workers_[worker].inbox;
  for (std::unique_ptr<Task>& task : take()) {
    const std::vector<uint64_t> hashes = HashesOf(*task);
    const int other = Order(hashes).front();
    if (!moves_ || workers_[other].state >= workers_[worker].state) {
      from.PutBack(std::move(task));
      continue;
    }
    from.Done(LoadOf(*task));
    workers_[other].inbox->TakeOver(std::move(task));
    Remember(hashes, other);
  }
}

bool Router::HasBetterThan(int worker) const {
  absl::MutexLock lock(&mu_);
  const auto own = workers_[worker].state;
  return moves_ && std::any_of(workers_.begin(), workers_.end(),
                               [own](const Worker& each) { return each.state < own; });
}

void Router::StopMoving() {
  absl::MutexLock lock(&mu_);
  moves_ = false;
}

absl::Status Router::CheckOpen() const {
  absl::MutexLock lock(&mu_);
  return workers_[Candidates().front()].inbox->CheckOpen();
}

bool Router::AllDone() const {
  absl::MutexLock lock(&mu_);
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& worker) { return worker.inbox->load().requests == 0; });
}

std::vector<uint64_t> Router::HashesOf(const Task& task) const {
  if (num_workers_ == 1) return {};  // there is nothing to choose
  const absl::Span<const TokenId> tokens = BeginningOf(task.work);
  // Prefixes whose hashes are equal by chance cost a request the better worker, and nothing else.
  uint64_t hash = absl::HashOf(task.work.salt);
  std::vector<uint64_t> hashes;
  for (int32_t block = 1; block <= kMostPrefixBlocks; ++block) {
    if (tokens.size() / block_tokens_ < static_cast<size_t>(block)) break;
    const auto begin = static_cast<size_t>(block - 1) * static_cast<size_t>(block_tokens_);
    hash = absl::HashOf(hash, tokens.subspan(begin, block_tokens_));
    const bool is_power_of_two = (block & (block - 1)) == 0;
    if (is_power_of_two) hashes.push_back(hash);
  }
  return hashes;
}

std::vector<int> Router::Order(const std::vector<uint64_t>& hashes) {
  std::vector<int> order = Candidates();
  const int workers = static_cast<int>(workers_.size());
  // Of equals, whoever was given nothing for longest.
  const auto turn = [workers, last = last_](int worker) {
    return (worker - last - 1 + workers) % workers;
  };
  std::vector<int64_t> work(workers), alike(workers);
  int64_t least = INT64_MAX;
  for (const int worker : order) {
    work[worker] = WorkOf(worker);
    alike[worker] = TokensAlike(hashes, worker);
    least = std::min(least, work[worker]);
  }
  for (const int worker : order) {
    if (work[worker] - least > alike[worker] + slack_tokens_) alike[worker] = 0;
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    if (alike[a] != alike[b]) return alike[a] > alike[b];
    if (work[a] != work[b]) return work[a] < work[b];
    return turn(a) < turn(b);
  });
  return order;
}

std::vector<int> Router::Candidates() const {
  for (const WorkerState state :
       {WorkerState::kReady, WorkerState::kRebuilding, WorkerState::kLost}) {
    std::vector<int> candidates;
    for (size_t i = 0; i < workers_.size(); ++i) {
      if (workers_[i].state == state) candidates.push_back(static_cast<int>(i));
    }
    if (!candidates.empty()) return candidates;
  }
  return {};
}

void Router::Remember(const std::vector<uint64_t>& hashes, int worker) {
  for (const uint64_t hash : hashes) {
    const auto found = prefix_by_hash_.find(hash);
    if (found != prefix_by_hash_.end()) {
      prefixes_.splice(prefixes_.begin(), prefixes_, found->second);
    } else {
      prefixes_.push_front({.hash = hash});
      prefix_by_hash_.emplace(hash, prefixes_.begin());
    }
    prefixes_.front().workers |= uint64_t{1} << worker;
  }
  while (prefixes_.size() > kMostPrefixes) {
    prefix_by_hash_.erase(prefixes_.back().hash);
    prefixes_.pop_back();
  }
}

int64_t Router::WorkOf(int worker) const {
  const InboxLoad load = workers_[worker].inbox->load();
  return load.tokens + load.requests * kTokensOfRequest;
}

int64_t Router::TokensAlike(const std::vector<uint64_t>& hashes, int worker) const {
  for (size_t i = hashes.size(); i > 0; --i) {
    const auto found = prefix_by_hash_.find(hashes[i - 1]);
    if (found == prefix_by_hash_.end()) continue;
    if (found->second->workers >> worker & 1) return (int64_t{1} << (i - 1)) * block_tokens_;
  }
  return 0;
}

}  // namespace peerage
