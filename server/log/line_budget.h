#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace peerage {

// How many lines of each kind may be written: so many in a second. What goes beyond is counted, to
// be told when its second is over. So a flood of one kind neither fills a disk nor hides the
// others.
//
// Threads: safe from many; every call is short.
class LineBudget {
 public:
  struct LeftOut {
    std::string kind;
    int64_t lines = 0;
  };

  explicit LineBudget(int32_t lines_per_second) : lines_per_second_(lines_per_second) {}

  // Whether one more line of this kind may be written. Kinds are from a closed set: each is kept.
  bool Take(absl::string_view kind, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

  // What was left out in seconds that are over and was not told before. Costs nothing when every
  // line was written.
  std::vector<LeftOut> TakeLeftOut(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // A second of one kind, which begins with its first line.
  struct Second {
    absl::Time end;
    int64_t lines = 0;
    int64_t left_out = 0;  // in seconds before, too, until told
  };

  const int32_t lines_per_second_;
  std::atomic<bool> any_left_out_ = false;

  absl::Mutex mu_;
  std::map<std::string, Second, std::less<>> seconds_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
