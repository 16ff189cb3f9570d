#include "client/bench/comparison.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/bench/resampling.h"
#include "client/bench/run_report.h"
#include "client/bench/statistics.h"

namespace peerage::client {
namespace {

constexpr double kPercents[] = {50, 90, 99};

// A number of a result, or of a list in it; nothing for null, which stands for what failed.
std::optional<double> NumberOf(const Json& json) {
  if (!json.is_number()) return std::nullopt;
  return json.get<double>();
}

const Json& ListOf(const Json& result, const std::string& key) {
  static const Json kNone = Json::array();
  const auto found = result.find(key);
  return found == result.end() || !found->is_array() ? kNone : *found;
}

double FieldOf(const Json& result, const std::string& key) {
  const auto found = result.find(key);
  return found == result.end() ? 0 : NumberOf(*found).value_or(0);
}

std::string Word(const Json& result, const std::string& key) {
  const auto found = result.find(key);
  if (found == result.end() || found->is_null()) return "";
  if (found->is_number_float()) return absl::StrCat(found->get<double>());
  return found->is_string() ? found->get<std::string>() : found->dump();
}

bool IsScore(const Json& result) { return Word(result, "mode") == "score"; }

// What a user calls the load: runs of the same name are compared.
std::string LoadOf(const Json& result) {
  std::vector<std::string> words;
  if (IsScore(result)) words.emplace_back("scores");
  if (const std::string ramp = Word(result, "ramp_up_strategy"); !ramp.empty()) {
    words.push_back(absl::StrCat(Word(result, "ramp_up_start_rps"), " to ",
                                 Word(result, "ramp_up_end_rps"), "/s ", ramp));
  } else if (const std::string rate = Word(result, "request_rate"); rate != "inf") {
    words.push_back(absl::StrCat(rate, "/s"));
  }
  const double burstiness = FieldOf(result, "burstiness");
  if (burstiness > 0 && burstiness != 1) words.push_back(absl::StrCat("burstiness ", burstiness));
  const std::string users = Word(result, "max_concurrency");
  words.push_back(users.empty() ? "no limit" : absl::StrCat(users, " at once"));
  return absl::StrJoin(words, ", ");
}

// Of the calls of a run that ended well, in milliseconds.
struct Latencies {
  std::vector<double> ttft, tpot, e2el;
};

Latencies LatenciesOf(const Json& result) {
  Latencies all;
  const Json& ttfts = ListOf(result, "ttfts");
  const Json& whole = ListOf(result, "latencies");
  const Json& lengths = ListOf(result, "output_lens");
  const Json& errors = ListOf(result, "errors");
  for (size_t i = 0; i < std::min({ttfts.size(), whole.size(), lengths.size()}); ++i) {
    const std::optional<double> first = NumberOf(ttfts[i]);
    const std::optional<double> end = NumberOf(whole[i]);
    const double tokens = NumberOf(lengths[i]).value_or(0);
    const bool failed = i < errors.size() && errors[i].is_string() && errors[i] != "";
    if (!first || !end || failed) continue;
    all.e2el.push_back(1e3 * *end);
    if (IsScore(result)) continue;
    all.ttft.push_back(1e3 * *first);
    if (tokens > 1) all.tpot.push_back(1e3 * (*end - *first) / (tokens - 1));
  }
  return all;
}

// The seconds that were whole.
std::vector<double> TokensBySecond(const Json& result) {
  std::vector<double> seconds;
  for (const Json& tokens : ListOf(result, "output_tokens_by_second")) {
    seconds.push_back(NumberOf(tokens).value_or(0));
  }
  if (!seconds.empty()) seconds.pop_back();
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

using Runs = std::vector<const Json*>;

SampledFigure LatencyFigure(const Runs& runs, std::vector<double> Latencies::*which,
                            double percent) {
  SampledFigure figure{.runs = {}, .percent = percent};
  for (const Json* run : runs) {
    std::vector<double> values = LatenciesOf(*run).*which;
    std::sort(values.begin(), values.end());
    const double value = Percentile(values, percent);
    figure.runs.push_back({.figure = value, .values = std::move(values)});
  }
  return figure;
}

SampledFigure ThroughputFigure(const Runs& runs) {
  SampledFigure figure;
  for (const Json* run : runs) {
    figure.runs.push_back(
        {.figure = FieldOf(*run, "output_throughput"), .values = TokensBySecond(*run)});
  }
  return figure;
}

Verdict Judge(std::pair<double, double> interval, bool more_is_better) {
  if (interval.first <= 1 && interval.second >= 1) return Verdict::kNoDifference;
  return (interval.first > 1) == more_is_better ? Verdict::kBetter : Verdict::kWorse;
}

// One load's figures, before and after.
class LoadComparison {
 public:
  LoadComparison(std::string load, const Runs& before, const Runs& after)
      : load_(std::move(load)), before_(before), after_(after) {}

  std::vector<ComparedFigure> Figures() {
    const bool score = IsScore(*before_.front());
    Add(score ? "scored tok/s" : "output tok/s", ThroughputFigure(before_),
        ThroughputFigure(after_), /*more_is_better=*/true);
    if (!score) {
      AddLatency("TTFT", &Latencies::ttft);
      AddLatency("TPOT", &Latencies::tpot);
    }
    AddLatency("E2EL", &Latencies::e2el);
    return std::move(figures_);
  }

 private:
  void AddLatency(const char* name, std::vector<double> Latencies::*which) {
    for (const double percent : kPercents) {
      Add(absl::StrCat(name, " P", PercentWord(percent), " ms"),
          LatencyFigure(before_, which, percent), LatencyFigure(after_, which, percent),
          /*more_is_better=*/false);
    }
  }

  void Add(const std::string& name, const SampledFigure& before, const SampledFigure& after,
           bool more_is_better) {
    ComparedFigure figure{
        .load = load_, .name = name, .before = before.figure(), .after = after.figure()};
    if (before.can_be_resampled() && after.can_be_resampled()) {
      figure.interval = RatioInterval(before, after, /*seed=*/figures_.size());
      figure.verdict = Judge(*figure.interval, more_is_better);
    }
    figures_.push_back(std::move(figure));
  }

  const std::string load_;
  const Runs& before_;
  const Runs& after_;
  std::vector<ComparedFigure> figures_;
};

void AddDifferences(const Json& before, const Json& after, std::set<std::string>& differences) {
  for (const char* key : {"model_id", "model_fingerprint", "server_version", "num_prompts", "seed",
                          "total_input_tokens"}) {
    const std::string was = Word(before, key);
    const std::string is = Word(after, key);
    if (was != is) differences.insert(absl::StrCat(key, " ", was, " and ", is));
  }
}

std::map<std::string, Runs> ByLoad(const std::vector<Json>& results) {
  std::map<std::string, Runs> loads;
  for (const Json& result : results) loads[LoadOf(result)].push_back(&result);
  return loads;
}

}  // namespace

absl::StatusOr<Comparison> Compare(const std::vector<Json>& before,
                                   const std::vector<Json>& after) {
  const std::map<std::string, Runs> old_loads = ByLoad(before);
  const std::map<std::string, Runs> new_loads = ByLoad(after);
  Comparison comparison;
  std::set<std::string> differences;
  std::set<std::string> seen;
  for (const Json& result : before) {  // in the order in which they were made
    const std::string load = LoadOf(result);
    const auto found = new_loads.find(load);
    if (found == new_loads.end() || !seen.insert(load).second) continue;
    const Runs& runs = old_loads.at(load);
    for (ComparedFigure& figure : LoadComparison(load, runs, found->second).Figures()) {
      comparison.figures.push_back(std::move(figure));
    }
    AddDifferences(result, *found->second.front(), differences);
    comparison.one_run_each |= runs.size() < 2 || found->second.size() < 2;
  }
  if (comparison.figures.empty()) {
    return absl::InvalidArgumentError("--compare: the files have no load in common");
  }
  comparison.differences.assign(differences.begin(), differences.end());
  return comparison;
}

}  // namespace peerage::client
