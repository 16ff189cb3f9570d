#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/types/span.h"

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
  // In place of `value`, for a histogram that takes in many of one event.
  std::vector<double> Event::*values = nullptr;
};

// Takes in all values under one lock.
inline void ObserveAll(absl::Span<const double> values,
                       const prometheus::Histogram::BucketBoundaries& buckets,
                       prometheus::Histogram& histogram) {
  if (values.empty()) return;
  std::vector<double> counts(buckets.size() + 1);
  double sum = 0;
  for (const double value : values) {
    ++counts[std::lower_bound(buckets.begin(), buckets.end(), value) - buckets.begin()];
    sum += value;
  }
  histogram.ObserveMultiple(counts, sum);
}

// Makes the row's series, and returns what records an event in it. The builders give an existing
// family back when it has the same name.
template <typename Event>
std::function<void(const Event&)> Register(MetricRow<Event> row,
                                           const prometheus::Labels& labels_of_all,
                                           prometheus::Registry& registry) {
  const auto family = [&](auto builder) -> auto& {
    return builder.Name(row.name).Help(row.help).Labels(labels_of_all).Register(registry);
  };
  const auto record = [&row](auto take) {
    return [value = std::move(row.value), take](const Event& event) {
      if (const std::optional<double> v = value(event)) take(*v);
    };
  };
  switch (row.kind) {
    case MetricKind::kCounter: {
      auto* series = &family(prometheus::BuildCounter()).Add(row.labels);
      return record([series](double value) { series->Increment(value); });
    }
    case MetricKind::kGauge: {
      auto* series = &family(prometheus::BuildGauge()).Add(row.labels);
      return record([series](double value) { series->Set(value); });
    }
    case MetricKind::kHistogram:
      break;
  }
  auto* series = &family(prometheus::BuildHistogram()).Add(row.labels, row.buckets);
  if (row.values == nullptr) return record([series](double value) { series->Observe(value); });
  return [series, values = row.values, buckets = row.buckets](const Event& event) {
    ObserveAll(event.*values, buckets, *series);
  };
}

// The series that follow from one kind of event. All of them exist from the start, so labels are
// from closed sets and rates are right from the first scrape.
//
// Threads: safe from many.
template <typename Event>
class MetricTable {
 public:
  // Registers every row; every series carries `labels_of_all`. `registry` must outlive the table.
  MetricTable(prometheus::Registry& registry, const prometheus::Labels& labels_of_all,
              std::vector<MetricRow<Event>> rows) {
    for (MetricRow<Event>& row : rows) {
      series_.push_back(Register(std::move(row), labels_of_all, registry));
    }
  }

  void Record(const Event& event) const {
    for (const auto& record : series_) record(event);
  }

 private:
  std::vector<std::function<void(const Event&)>> series_;
};

}  // namespace peerage
