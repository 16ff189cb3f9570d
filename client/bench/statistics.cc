#include "client/bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace peerage::client {

double Percentile(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  const double position = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const double part = position - std::floor(position);
  const double low = sorted[below];
  const double high = sorted[std::min(below + 1, sorted.size() - 1)];
  // From the nearer end, as NumPy does, so that equal neighbours give their own value.
  return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
}

Distribution Describe(std::vector<double> values, const std::vector<double>& percents) {
  Distribution result;
  std::sort(values.begin(), values.end());
  if (!values.empty()) {
    const auto count = static_cast<double>(values.size());
    result.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    double squares = 0;
    for (const double value : values) squares += (value - result.mean) * (value - result.mean);
    result.deviation = std::sqrt(squares / count);
    result.median = Percentile(values, 50);
  }
  for (const double percent : percents) {
    result.percentiles.emplace_back(percent, Percentile(values, percent));
  }
  return result;
}

}  // namespace peerage::client
