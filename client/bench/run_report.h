#pragma once

#include <set>
#include <string>
#include <vector>

#include "client/bench/figures.h"
#include "client/bench/traffic.h"
#include "client/message_json.h"

namespace peerage::client {

// What a run asked, and whom.
struct RunDescription {
  bool score = false;
  std::string label;  // empty: none
  std::string date;   // "20261129-190241"
  std::string model;
  std::string fingerprint;
  std::string server_version;
  size_t num_prompts = 0;
  uint64_t seed = 0;
  Traffic traffic;
  Goodput goodput;
  std::set<Latency> shown;  // whose percentiles are printed
};

// The block that vLLM's `bench serve` prints, line for line; below it, only when there is something
// to say, what was not served and why, retries and cached prompt tokens.
std::string RunText(const RunDescription& description, const RunFigures& figures);

// Everything of a run, under vLLM's keys and ours; one that was cut off says so. Texts and the gaps
// between tokens are only there in detail: they are many.
Json RunJson(const RunDescription& description, const RunFigures& figures,
             const RunRecords& records, bool detail);

// "99", "99.9", as a key or a label has it.
std::string PercentWord(double percent);

}  // namespace peerage::client
