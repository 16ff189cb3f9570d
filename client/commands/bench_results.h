#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/bench/load_chart.h"
#include "client/commands/bench_options.h"
#include "client/message_json.h"

namespace peerage::client {

// The files that `peerage bench` writes.
class BenchResults {
 public:
  explicit BenchResults(const BenchOptions& options) : options_(options) {}

  // A line for each run of a command, all in one file. UNAVAILABLE when it cannot be written; so is
  // the picture.
  absl::Status Save(const RunDescription& run, const Json& result);
  absl::Status Draw(const std::vector<LoadPoint>& points) const;

 private:
  std::string FileOf(const RunDescription& run) const;

  const BenchOptions& options_;
  std::string file_;  // of the first run that was saved
};

}  // namespace peerage::client
