#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "client/bench/comparison.h"
#include "client/commands/text_input.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

constexpr size_t kMostValues = 200'000'000;

const char* WordOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kBetter:
      return "better";
    case Verdict::kWorse:
      return "worse";
    case Verdict::kNoDifference:
      return "no difference";
    case Verdict::kTooLittle:
      return "too little to tell";
  }
  return "";
}

std::string IntervalText(const ComparedFigure& figure) {
  if (!figure.interval) return "-";
  return absl::StrFormat("%.2f to %.2f", figure.interval->first, figure.interval->second);
}

std::string RatioText(const ComparedFigure& figure) {
  return figure.before > 0 ? absl::StrFormat("%.2f", figure.after / figure.before) : "-";
}

std::string Summary(const Comparison& comparison, const std::string& before,
                    const std::string& after) {
  std::vector<std::string> counts;
  for (const Verdict verdict :
       {Verdict::kBetter, Verdict::kWorse, Verdict::kNoDifference, Verdict::kTooLittle}) {
    const auto is = [verdict](const ComparedFigure& f) { return f.verdict == verdict; };
    const auto count = std::count_if(comparison.figures.begin(), comparison.figures.end(), is);
    if (count > 0) counts.push_back(absl::StrCat(count, " ", WordOf(verdict)));
  }
  return absl::StrCat(after, " beside ", before, ": ", absl::StrJoin(counts, ", "));
}

}  // namespace

absl::StatusOr<std::vector<Json>> ReadResults(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadText("--compare", path));
  std::vector<Json> results;
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    const auto result = ParseStrictJson(line, {.max_values = kMostValues});
    const std::string place = absl::StrCat("--compare (", path, ") line ", number);
    if (!result.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(place, ": ", result.status().message()));
    }
    if (!result->is_object() || !result->contains("latencies") || !result->contains("ttfts")) {
      return absl::InvalidArgumentError(absl::StrCat(place, " is no result with each request"));
    }
    results.push_back(*result);
  }
  return results;
}

std::string ComparisonText(const Comparison& comparison, const std::string& before,
                           const std::string& after) {
  Table table({{"load"},
               {"figure"},
               {before, Table::Align::kRight},
               {after, Table::Align::kRight},
               {"ratio", Table::Align::kRight},
               {"99 % interval"},
               {"verdict"}});
  for (const ComparedFigure& figure : comparison.figures) {
    table.AddRow({figure.load, figure.name, FormatThreeDigits(figure.before),
                  FormatThreeDigits(figure.after), RatioText(figure), IntervalText(figure),
                  WordOf(figure.verdict)});
  }
  std::string text = table.ToString() + EscapeText(Summary(comparison, before, after)) + "\n";
  if (comparison.one_run_each) {
    absl::StrAppend(&text,
                    "Of one run each, the intervals know how requests differ, not how runs do: "
                    "--append-result adds runs.\n");
  }
  if (!comparison.differences.empty()) {
    absl::StrAppend(
        &text, "Not the same: ", EscapeText(absl::StrJoin(comparison.differences, "; ")), "\n");
  }
  return text;
}

Json ComparisonJson(const Comparison& comparison) {
  Json figures = Json::array();
  for (const ComparedFigure& figure : comparison.figures) {
    Json json = {{"load", figure.load},
                 {"figure", figure.name},
                 {"before", figure.before},
                 {"after", figure.after},
                 {"ratio", nullptr},
                 {"interval", nullptr},
                 {"verdict", WordOf(figure.verdict)}};
    if (figure.before > 0) json["ratio"] = figure.after / figure.before;
    if (figure.interval) json["interval"] = {figure.interval->first, figure.interval->second};
    figures.push_back(std::move(json));
  }
  return {{"figures", figures},
          {"differences", comparison.differences},
          {"one_run_each", comparison.one_run_each}};
}

}  // namespace peerage::client
