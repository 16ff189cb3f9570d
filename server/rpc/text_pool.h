#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/request/limits.h"

namespace peerage {

struct TextPoolOptions {
  int threads = 1;        // at least 1
  int max_waiting = 256;  // tasks of Run; beyond, those of callers with less than their part
  size_t at_once_bytes = kBytesReadAtOnce;
};

// Where the texts of clients become tokens and back. gRPC's own threads are few, and everything
// waits for them: health checks, and the news that a stream's message was written. So they read
// what is small, which takes microseconds, and threads of the pool's read the rest: of each caller
// in order, and callers in turns of as many bytes (self-clocked fair queueing; Golestani 1994). Who
// sends many large texts makes himself wait.
//
// Threads: safe from many. The destructor runs what waits, and joins.
class TextPool {
 public:
  // Told whether it is its turn: else RESOURCE_EXHAUSTED, and it is to do no more than say so.
  using Task = std::function<void(const absl::Status& turn)>;

  explicit TextPool(const TextPoolOptions& options);
  ~TextPool();

  TextPool(const TextPool&) = delete;
  TextPool& operator=(const TextPool&) = delete;

  // Runs a task that reads `bytes`, once: at once, on the calling thread, when they are few or too
  // many tasks wait. Callers of one name have one turn.
  void Run(const std::string& caller, size_t bytes, Task task) ABSL_LOCKS_EXCLUDED(mu_);

  // Runs it however many wait: for a caller who has no second task until this one is done.
  void RunInTurn(const std::string& caller, size_t bytes, std::function<void()> task)
      ABSL_LOCKS_EXCLUDED(mu_);

  int num_waiting() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Waiting {
    std::function<void()> task;
    bool bounded = false;  // it counts in max_waiting
    size_t end = 0;        // where it ends on the clock of bytes, by its caller's turns alone
  };

  // One of whom something waits.
  struct Caller {
    std::deque<Waiting> tasks;
    int num_bounded = 0;
  };

  void Add(Caller& caller, size_t bytes, bool bounded, std::function<void()> task)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Loop();
  // The next task; none when the thread is to end.
  std::function<void()> Next() ABSL_LOCKS_EXCLUDED(mu_);

  const TextPoolOptions options_;

  mutable absl::Mutex mu_;
  absl::CondVar changed_;
  std::map<std::string, Caller> callers_ ABSL_GUARDED_BY(mu_);
  int num_bounded_ ABSL_GUARDED_BY(mu_) = 0;
  size_t now_ ABSL_GUARDED_BY(mu_) = 0;  // on the clock of bytes: the end of the task taken last
  bool ending_ ABSL_GUARDED_BY(mu_) = false;

  std::vector<std::thread> threads_;
};

}  // namespace peerage
