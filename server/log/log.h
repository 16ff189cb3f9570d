#pragma once

#include <atomic>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/engine/clock.h"
#include "server/log/line_budget.h"
#include "server/log/log_line.h"

namespace peerage {

struct LogOptions {
  LogFormat format = LogFormat::kText;
  LogLevel level = LogLevel::kInfo;
  int32_t lines_per_second = 100;  // of each kind that is limited
};

// The server's log: one line an event, written by a thread of its own.
//
// Threads: safe from many. A call makes its line and queues it; it waits for no reader. Where the
// reader stands still, the oldest of the lines that wait are lost. The destructor writes what
// waits.
class Log {
 public:
  // Starts the writing thread. `clock`, which the limit goes by, and `out` must outlive the log.
  Log(const LogOptions& options, const Clock* clock, std::ostream* out);
  ~Log();

  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void Write(LogLevel level, absl::string_view message, const std::vector<LogField>& fields = {});

  // A line that a stranger may cause as often as he likes: so many of each kind (from a closed set)
  // are written in a second.
  void WriteLimited(absl::string_view kind, LogLevel level, absl::string_view message,
                    const std::vector<LogField>& fields);

  // Tells how many lines the limit has left out, once their second is over. To be called now and
  // then; WriteLimited does it, too.
  void TellLeftOut();

  // Whether lines of this level are written.
  bool Shows(LogLevel level) const { return level >= this->level(); }

  // From now on. A line tells of it whatever the levels: who reads must know what is not shown.
  void SetLevel(LogLevel level);
  LogLevel level() const { return level_; }

 private:
  class Writer;

  void Put(LogLevel level, absl::string_view message, const std::vector<LogField>& fields);
  void TellLeftOutBefore(absl::Time end);

  const LogFormat format_;
  const Clock* const clock_;
  std::atomic<LogLevel> level_;
  LineBudget budget_;
  const std::unique_ptr<Writer> writer_;
};

}  // namespace peerage
