#include "client/commands/bench_values.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/command_line/options.h"
#include "base/error_text.h"
#include "base/status_macros.h"

namespace peerage::client {
namespace {

// Numbers with commas between them.
template <typename T>
absl::StatusOr<std::vector<T>> ParseList(const std::string& name, const std::string& text,
                                         NumberRangeOf<T> range) {
  std::vector<T> numbers;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    ASSIGN_OR_RETURN(const T number, ParseNumber<T>(name, word, range));
    numbers.push_back(number);
  }
  return numbers;
}

// "ttft:500": a bound in milliseconds.
absl::Status AddBound(const std::string& text, bool score, Goodput& goodput) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  const struct {
    const char* name;
    std::optional<double>& bound;
  } bounds[] = {{"ttft", goodput.ttft_ms}, {"tpot", goodput.tpot_ms}, {"e2el", goodput.e2el_ms}};
  for (const auto& [name, bound] : bounds) {
    if (parts.first != name) continue;
    if (score && parts.first != "e2el") {
      return absl::InvalidArgumentError(
          absl::StrCat("--goodput ", name, " is not for scores: they have e2el"));
    }
    if (bound) return absl::InvalidArgumentError(absl::StrCat("--goodput has ", name, " twice"));
    ASSIGN_OR_RETURN(bound, ParseNumber<double>(absl::StrCat("--goodput ", name), parts.second,
                                                {.least = 0, .most = 1e9}));
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--goodput is ", Quoted(text), ", not ttft:MS, tpot:MS or e2el:MS, such as ttft:500"));
}

}  // namespace

absl::StatusOr<std::vector<double>> ParseRates(const std::string& text) {
  if (text == "inf") return std::vector<double>{std::numeric_limits<double>::infinity()};
  return ParseList<double>("--request-rate", text, {.least = 1e-3, .most = kLargestRate});
}

absl::StatusOr<std::vector<std::optional<uint32_t>>> ParseConcurrencies(const std::string& text) {
  std::vector<std::optional<uint32_t>> all;
  if (text.empty()) return std::vector<std::optional<uint32_t>>{std::nullopt};
  ASSIGN_OR_RETURN(const std::vector<uint32_t> numbers,
                   ParseList<uint32_t>("--max-concurrency", text, {.least = 1, .most = 100'000}));
  all.assign(numbers.begin(), numbers.end());
  return all;
}

absl::StatusOr<std::set<Latency>> ParseMetrics(const std::string& text) {
  std::set<Latency> metrics;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    const auto names = LatencyNames();
    const auto* name =
        std::find_if(names.begin(), names.end(), [&](const auto& n) { return n.key == word; });
    if (name == names.end()) {
      const auto key = [](std::string* out, const LatencyName& n) { absl::StrAppend(out, n.key); };
      return absl::InvalidArgumentError(absl::StrCat("--percentile-metrics is ", Quoted(word),
                                                     ", not one of ",
                                                     absl::StrJoin(names, ", ", key)));
    }
    metrics.insert(name->latency);
  }
  return metrics;
}

absl::StatusOr<Goodput> ParseGoodput(const std::vector<std::string>& bounds, bool score) {
  Goodput goodput;
  for (const std::string& bound : bounds) RETURN_IF_ERROR(AddBound(bound, score, goodput));
  return goodput;
}

absl::StatusOr<std::vector<double>> ParsePercents(const std::string& text) {
  return ParseList<double>("--metric-percentiles", text, {.least = 0, .most = 100});
}

}  // namespace peerage::client
