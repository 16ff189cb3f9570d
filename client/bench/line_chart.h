#pragma once

#include <string>
#include <vector>

#include "model/experts/image.h"

namespace peerage::client {

// What was measured at each of the chart's points; not negative. A value that is not finite is left
// out.
struct ChartLine {
  std::string name;  // may be empty
  Colour colour;
  std::vector<double> values;
};

// Lines that share an axis, which begins at 0; or at a power of ten, when they differ too much for
// the small ones to be seen.
struct ChartPanel {
  std::string title;
  std::vector<ChartLine> lines;
};

struct LineChart {
  std::string title;
  std::string subtitle;
  std::string axis;                 // what the points are
  std::vector<std::string> points;  // their names, from left to right; at least one
  std::vector<ChartPanel> panels;   // one below the other
};

// The points are equally far from each other: loads are mostly multiples.
Image DrawLineChart(const LineChart& chart);

// The ends of an axis that has room for the values, and what is marked on it.
struct ChartScale {
  double low = 0;
  double high = 1;
  bool logarithmic = false;
  std::vector<double> marks;

  double PositionOf(double value) const;  // 0 to 1
};
ChartScale ScaleFor(const std::vector<ChartLine>& lines);

}  // namespace peerage::client
