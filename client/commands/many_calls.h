#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "client/message_json.h"

namespace peerage::client {

struct ManyCalls {
  size_t count = 0;
  size_t parallel = 1;
};

// Answers that come in any order, taken in the order of their numbers. Threads: safe from many.
template <typename Answer>
class OrderedAnswers {
 public:
  void Put(size_t i, Answer answer) {
    absl::MutexLock lock(&mu_);
    answers_.emplace(i, std::move(answer));
  }

  // Waits for that one.
  Answer Take(size_t i) {
    absl::MutexLock lock(&mu_);
    const auto here = [this, i] {
      mu_.AssertReaderHeld();
      return answers_.count(i) > 0;
    };
    mu_.Await(absl::Condition(&here));
    return std::move(answers_.extract(i).mapped());
  }

 private:
  absl::Mutex mu_;
  std::map<size_t, Answer> answers_ ABSL_GUARDED_BY(mu_);
};

// Makes calls 0, 1, ... count - 1, so many at once, on threads of their own, and hands the answers
// on in order, on this thread, as soon as they are there; until `receive` returns false: then no
// call is begun any more.
template <typename Response>
void CallMany(ManyCalls calls, absl::FunctionRef<absl::StatusOr<Response>(size_t)> call,
              absl::FunctionRef<bool(size_t, const absl::StatusOr<Response>&)> receive) {
  OrderedAnswers<absl::StatusOr<Response>> answers;
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < std::min(calls.parallel, calls.count); ++t) {
    threads.emplace_back([&answers, &next, &calls, call] {
      for (size_t i = next++; i < calls.count; i = next++) answers.Put(i, call(i));
    });
  }
  for (size_t i = 0; i < calls.count; ++i) {
    if (receive(i, answers.Take(i))) continue;
    next = calls.count;
    break;
  }
  for (std::thread& thread : threads) thread.join();
}

// {"code": "INVALID_ARGUMENT", "message": "--top-p must be ..."}
Json ErrorJson(const absl::Status& status);

// One line on standard error about a line of a file.
void PrintFailure(size_t line, const absl::Status& status);

}  // namespace peerage::client
