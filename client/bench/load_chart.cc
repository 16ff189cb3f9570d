#include "client/bench/load_chart.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

constexpr Colour kServed = {20, 90, 160};
constexpr Colour kGood = {40, 140, 70};
constexpr Colour kRefused = {190, 50, 40};

// Whether it is the request rate that says how much is asked.
bool IsByRate(const std::vector<LoadPoint>& points) {
  const Traffic& first = points.front().run.traffic;
  return std::all_of(points.begin(), points.end(), [&first](const LoadPoint& point) {
    return std::isfinite(point.run.traffic.request_rate) &&
           point.run.traffic.max_concurrency == first.max_concurrency;
  });
}

std::string LoadName(const LoadPoint& point, bool by_rate) {
  const Traffic& traffic = point.run.traffic;
  if (by_rate) return absl::StrCat(traffic.request_rate);
  if (traffic.ramp_up) {
    return absl::StrCat(traffic.ramp_up->start_rps, " to ", traffic.ramp_up->end_rps, " a second");
  }
  return traffic.max_concurrency ? absl::StrCat(*traffic.max_concurrency) : "all at once";
}

// Later ones are darker; none is too pale for paper.
Colour PercentileColour(size_t i, size_t count) {
  const double part = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 1;
  return HeatColour(0.7 - 0.6 * part, Palette::kViridis);
}

template <typename Value>
std::vector<double> ForEachPoint(const std::vector<LoadPoint>& points, const Value& value) {
  std::vector<double> values;
  for (const LoadPoint& point : points) values.push_back(value(point.figures));
  return values;
}

ChartPanel LatencyPanel(const std::vector<LoadPoint>& points, const LatencyName& name) {
  ChartPanel panel{.title = absl::StrCat(name.title, ", ms"), .lines = {}};
  const auto& first = points.front().figures.latencies.at(name.latency).percentiles;
  for (size_t i = 0; i < first.size(); ++i) {
    const auto value = [&](const RunFigures& figures) {
      // Where nothing was served there is no latency, rather than one of zero.
      return figures.completed > 0 ? figures.latencies.at(name.latency).percentiles[i].second : NAN;
    };
    panel.lines.push_back({.name = absl::StrCat("P", PercentWord(first[i].first)),
                           .colour = PercentileColour(i, first.size()),
                           .values = ForEachPoint(points, value)});
  }
  return panel;
}

ChartPanel TokenPanel(const std::vector<LoadPoint>& points, bool score) {
  const auto rate = [](const RunFigures& f) {
    return f.Rate(static_cast<double>(f.output_tokens));
  };
  return {.title = score ? "Scored tokens a second" : "Generated tokens a second",
          .lines = {{.name = "", .colour = kServed, .values = ForEachPoint(points, rate)}}};
}

ChartPanel RequestPanel(const std::vector<LoadPoint>& points) {
  const auto line = [&points](const char* name, Colour colour, size_t RunFigures::*count) {
    const auto rate = [count](const RunFigures& f) {
      return f.Rate(static_cast<double>(f.*count));
    };
    return ChartLine{.name = name, .colour = colour, .values = ForEachPoint(points, rate)};
  };
  ChartPanel panel{.title = "Requests a second",
                   .lines = {line("served", kServed, &RunFigures::completed)}};
  if (points.front().run.goodput.asked()) {
    panel.lines.push_back(line("within the bounds", kGood, &RunFigures::good));
  }
  const auto failed = [](const LoadPoint& point) { return point.figures.failed > 0; };
  if (std::any_of(points.begin(), points.end(), failed)) {
    panel.lines.push_back(line("not served", kRefused, &RunFigures::failed));
  }
  return panel;
}

std::vector<LatencyName> ShownLatencies(bool score) {
  std::vector<LatencyName> names;
  for (const LatencyName& name : LatencyNames()) {
    const bool of_tokens =
        name.latency == Latency::kTimeToFirstToken || name.latency == Latency::kTimePerOutputToken;
    if (score ? name.latency == Latency::kEndToEnd : of_tokens) names.push_back(name);
  }
  return names;
}

Table HeadOf(const LoadPoint& point, const std::vector<LatencyName>& names, bool by_rate) {
  std::vector<Table::Column> columns;
  for (const char* title : {by_rate ? "req/s asked" : "at once", "req/s", "tok/s", "failed"}) {
    columns.push_back({title, Table::Align::kRight});
  }
  for (const LatencyName& name : names) {
    for (const auto& [percent, value] : point.figures.latencies.at(name.latency).percentiles) {
      columns.push_back(
          {absl::StrCat("P", PercentWord(percent), " ", name.word, " ms"), Table::Align::kRight});
    }
  }
  return Table(columns);
}

std::vector<std::string> RowOf(const LoadPoint& point, const std::vector<LatencyName>& names,
                               bool by_rate) {
  const RunFigures& figures = point.figures;
  const auto rate = [&figures](uint64_t amount) {
    return FormatThreeDigits(figures.Rate(static_cast<double>(amount)));
  };
  std::vector<std::string> row = {LoadName(point, by_rate), rate(figures.completed),
                                  rate(figures.output_tokens), absl::StrCat(figures.failed)};
  for (const LatencyName& name : names) {
    for (const auto& [percent, value] : figures.latencies.at(name.latency).percentiles) {
      row.push_back(FormatThreeDigits(value));
    }
  }
  return row;
}

}  // namespace

LineChart ChartOf(const std::vector<LoadPoint>& points) {
  const RunDescription& run = points.front().run;
  const bool by_rate = IsByRate(points);
  LineChart chart{
      .title = absl::StrCat(EscapeText(run.model), run.score ? ", scoring" : "", " under load"),
      .subtitle = absl::StrCat(run.num_prompts, " requests a run, ", run.date, ", server ",
                               run.server_version, ", model ", run.fingerprint.substr(0, 12)),
      .axis = by_rate ? "requests a second that come" : "requests at once",
      .points = {},
      .panels = {}};
  for (const LoadPoint& point : points) chart.points.push_back(LoadName(point, by_rate));
  for (const LatencyName& name : ShownLatencies(run.score)) {
    chart.panels.push_back(LatencyPanel(points, name));
  }
  chart.panels.push_back(TokenPanel(points, run.score));
  chart.panels.push_back(RequestPanel(points));
  return chart;
}

std::string LoadTable(const std::vector<LoadPoint>& points) {
  const bool by_rate = IsByRate(points);
  const std::vector<LatencyName> names = ShownLatencies(points.front().run.score);
  Table table = HeadOf(points.front(), names, by_rate);
  for (const LoadPoint& point : points) table.AddRow(RowOf(point, names, by_rate));
  return table.ToString();
}

}  // namespace peerage::client
