#pragma once

#include <vector>

#include "client/bench/figures.h"
#include "client/bench/line_chart.h"
#include "client/bench/run_report.h"

namespace peerage::client {

// One run of several under different loads.
struct LoadPoint {
  RunDescription run;
  RunFigures figures;
};

// Percentiles of latencies and what is served, against the load: the request rate, or how many
// requests there are at once. Precondition: there is a point, and all are of one mode.
LineChart ChartOf(const std::vector<LoadPoint>& points);

// The same as a table, a row for each load.
std::string LoadTable(const std::vector<LoadPoint>& points);

}  // namespace peerage::client
