#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/message_json.h"

namespace peerage::client {

enum class Verdict { kBetter, kWorse, kNoDifference, kTooLittle };

struct ComparedFigure {
  std::string load;  // "8 at once"
  std::string name;  // "TTFT P99 (ms)"
  double before = 0;
  double after = 0;
  std::optional<std::pair<double, double>> interval;  // of after / before, 99 %
  Verdict verdict = Verdict::kTooLittle;
};

// Results of two files beside each other.
struct Comparison {
  std::vector<ComparedFigure> figures;
  std::vector<std::string> differences;  // in what was asked, and of which model
  bool one_run_each = false;             // of some load: how much runs differ is not known
};

// The results of a file, each on a line: of loads, and of one load several where there were several
// runs. vLLM's, saved in detail, are read as well. INVALID_ARGUMENT names the file and the line.
absl::StatusOr<std::vector<Json>> ReadResults(const std::string& path);

// Compares the loads that both have. INVALID_ARGUMENT when there is none.
absl::StatusOr<Comparison> Compare(const std::vector<Json>& before, const std::vector<Json>& after);

// A table, and what it comes to.
std::string ComparisonText(const Comparison& comparison, const std::string& before,
                           const std::string& after);
Json ComparisonJson(const Comparison& comparison);

}  // namespace peerage::client
