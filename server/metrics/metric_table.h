#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace peerage {

// What an event does to a series: a counter grows by the value, a gauge becomes it, and a histogram
// takes it in.
enum class MetricKind { kCounter, kGauge, kHistogram };

// One row of a table of metrics: a series, and what it reads from an event. Rows of one name are
// one family. A value of nothing leaves the series alone.
template <typename Event>
struct MetricRow {
  MetricKind kind = MetricKind::kCounter;
  const char* name = "";
  const char* help = "";
  std::function<std::optional<double>(const Event&)> value;
  prometheus::Labels labels;
  prometheus::Histogram::BucketBoundaries buckets;  // of a histogram
};

// Makes the row's series, and returns what records a value in it. The builders give an existing
// family back when it has the same name.
template <typename Event>
std::function<void(double)> Register(const MetricRow<Event>& row, prometheus::Registry& registry) {
  switch (row.kind) {
    case MetricKind::kCounter: {
      auto& family = prometheus::BuildCounter().Name(row.name).Help(row.help).Register(registry);
      return [series = &family.Add(row.labels)](double value) { series->Increment(value); };
    }
    case MetricKind::kGauge: {
      auto& family = prometheus::BuildGauge().Name(row.name).Help(row.help).Register(registry);
      return [series = &family.Add(row.labels)](double value) { series->Set(value); };
    }
    case MetricKind::kHistogram:
      break;
  }
  auto& family = prometheus::BuildHistogram().Name(row.name).Help(row.help).Register(registry);
  return [series = &family.Add(row.labels, row.buckets)](double value) { series->Observe(value); };
}

// The series that follow from one kind of event. All of them exist from the start, so labels are
// from closed sets and rates are right from the first scrape.
//
// Threads: safe from many.
template <typename Event>
class MetricTable {
 public:
  // Registers every row. `registry` must outlive the table.
  MetricTable(prometheus::Registry& registry, std::vector<MetricRow<Event>> rows) {
    for (MetricRow<Event>& row : rows) {
      std::function<void(double)> record = Register(row, registry);
      series_.push_back({std::move(row.value), std::move(record)});
    }
  }

  void Record(const Event& event) const {
    for (const Series& series : series_) {
      if (const std::optional<double> value = series.value(event)) series.record(*value);
    }
  }

 private:
  struct Series {
    std::function<std::optional<double>(const Event&)> value;
    std::function<void(double)> record;
  };

  std::vector<Series> series_;
};

}  // namespace peerage
