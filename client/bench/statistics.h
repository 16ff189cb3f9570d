#pragma once

#include <utility>
#include <vector>

namespace peerage::client {

// What many measured values come to, as NumPy computes it: the deviation is that of the whole
// population, percentiles lie on straight lines between neighbours. Of no values all are 0.
struct Distribution {
  double mean = 0;
  double median = 0;
  double deviation = 0;
  std::vector<std::pair<double, double>> percentiles;  // percent, value
};

// `percents` are from 0 to 100.
Distribution Describe(std::vector<double> values, const std::vector<double>& percents);

// Precondition: `sorted` ascends. 0 when it is empty.
double Percentile(const std::vector<double>& sorted, double percent);

}  // namespace peerage::client
