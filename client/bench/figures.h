#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/bench/load_run.h"
#include "client/bench/statistics.h"

namespace peerage::client {

// What can be asked of each call's latencies; names, titles and definitions are vLLM's. Times are
// in milliseconds.
enum class Latency {
  kTimeToFirstToken,
  kTimePerOutputToken,  // after the first, by call; only of calls that have such
  kInterToken,          // between messages
  kEndToEnd,
  kClientQueue,        // from when a call was due until it was sent
  kEndToEndWithQueue,  // since it was due
};

struct LatencyName {
  Latency latency;
  const char* key;    // "ttft", as options and JSON have it
  const char* word;   // "TTFT"
  const char* title;  // "Time to First Token"
};
absl::Span<const LatencyName> LatencyNames();

// Bounds that a good call keeps, all of them.
struct Goodput {
  std::optional<double> ttft_ms, tpot_ms, e2el_ms;

  bool asked() const { return ttft_ms || tpot_ms || e2el_ms; }
};

// What one run comes to. Latencies and tokens are those of calls that ended well: what was refused
// or failed is counted, by code, and in nothing else.
struct RunFigures {
  size_t completed = 0;
  size_t failed = 0;
  size_t unfinished = 0;
  double duration = 0;  // seconds
  uint64_t input_tokens = 0;
  uint64_t cached_input_tokens = 0;
  uint64_t output_tokens = 0;
  uint64_t items = 0;
  uint64_t retries = 0;
  size_t good = 0;                         // calls within the goodput's bounds
  std::vector<uint64_t> tokens_by_second;  // since the first call was sent
  size_t most_at_once = 0;
  std::map<Latency, Distribution> latencies;
  std::map<std::string, size_t> codes;        // "OK", "RESOURCE_EXHAUSTED"
  std::map<std::string, std::string> errors;  // of each code that failed: what the first one said

  // Of a second; 0 when there was no time.
  double Rate(double amount) const { return duration > 0 ? amount / duration : 0; }
  uint64_t peak_output_tokens() const;
};

RunFigures FiguresOf(const RunRecords& run, const std::vector<double>& percents,
                     const Goodput& goodput);

// Of the calls that ended well, in their order.
std::vector<double> LatenciesOf(const RunRecords& run, Latency latency);

}  // namespace peerage::client
