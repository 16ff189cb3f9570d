#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/inbox.h"
#include "server/engine/task.h"
#include "server/engine/worker_status.h"

namespace peerage {

// Which worker gets a request: the one that was given prompts that begin alike, since it may have
// computed them, unless another one has much less to do; else the one that has least to do. Only
// those that are ready, while there are any, then those that will be. One that refuses is passed
// over, so a request is refused when all are full.
//
// Work is counted in tokens: those of the prompts and continuations of all requests that were added
// and have not ended, and kTokensOfRequest for each request, which also generates.
//
// Threads: safe from many. Whatever moves a request is one step for those who cancel it.
// Cost: O(workers + log2(prompt blocks)) a request, and hashes of the prompt's first blocks.
class Router {
 public:
  static constexpr int kMostWorkers = 64;
  static constexpr int64_t kTokensOfRequest = 32;
  static constexpr size_t kMostPrefixes = 1 << 14;   // that are remembered
  static constexpr int32_t kMostPrefixBlocks = 256;  // of a prompt that are looked at

  // A worker may have as much more to do than another one as a prefix that it has is long, and
  // `slack_tokens` more.
  Router(int num_workers, int32_t block_tokens, int64_t slack_tokens)
      : num_workers_(num_workers), block_tokens_(block_tokens), slack_tokens_(slack_tokens) {}

  // The next of the workers; it is ready. Its inbox must outlive the router's use.
  void AddWorker(Inbox* inbox);

  // When all refuse, what the one says that lets in again first.
  absl::Status Submit(std::unique_ptr<Task> task);
  // Nothing happens when the request is gone.
  void Cancel(RequestHandle handle);

  // A worker that is not ready has forgotten all prefixes. Those that are worse off are woken, for
  // what waits there may move. Whether all workers are lost now.
  bool SetState(int worker, WorkerState state);
  // Gives what `take` returns, requests of this worker, to those that are ready, from a lost one
  // also to those that will be. What nobody takes goes back to the worker's inbox.
  void MoveAway(int worker, absl::FunctionRef<std::vector<std::unique_ptr<Task>>()> take);
  // Whether MoveAway would move what waits at this worker.
  bool HasBetterThan(int worker) const;
  // Nothing is moved any more: workers are about to end.
  void StopMoving();

  // Why no worker lets requests in any more; OK while one does.
  absl::Status CheckOpen() const;

  // Whether every request of every inbox has ended.
  bool AllDone() const;

 private:
  struct Worker {
    Inbox* inbox = nullptr;
    WorkerState state = WorkerState::kReady;
  };
  // The workers that have a prefix, a bit each.
  struct Prefix {
    uint64_t hash = 0;
    uint64_t workers = 0;
  };
  using Prefixes = std::list<Prefix>;

  // Hashes of the first 1, 2, 4, ... blocks, salted.
  std::vector<uint64_t> HashesOf(const Task& task) const;
  // All that may take it, best first.
  std::vector<int> Order(const std::vector<uint64_t>& hashes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<int> Candidates() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Remember(const std::vector<uint64_t>& hashes, int worker) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t WorkOf(int worker) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How many tokens at the beginning the worker has.
  int64_t TokensAlike(const std::vector<uint64_t>& hashes, int worker) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int num_workers_;
  const int32_t block_tokens_;
  const int64_t slack_tokens_;

  mutable absl::Mutex mu_;
  std::vector<Worker> workers_ ABSL_GUARDED_BY(mu_);
  int last_ ABSL_GUARDED_BY(mu_) = -1;  // that was given a request
  bool moves_ ABSL_GUARDED_BY(mu_) = true;
  Prefixes prefixes_ ABSL_GUARDED_BY(mu_);  // the latest first
  std::unordered_map<uint64_t, Prefixes::iterator> prefix_by_hash_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
