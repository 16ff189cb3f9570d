#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "model/experts/expert_usage.h"
#include "model/kernels/router_figures.h"

namespace peerage::kernels {

RouterFigures ProductKeyFiguresReference(const ProductKeyFiguresArgs& args) {
  const size_t n = args.scores[0].size();
  std::vector<double> p;
  for (const float row : args.scores[0]) {
    for (const float column : args.scores[1]) p.push_back(double{row} + column);
  }
  if (!std::all_of(p.begin(), p.end(), [](double x) { return std::isfinite(x); })) {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    return {kNan, kNan};
  }
  const double highest = *std::max_element(p.begin(), p.end());
  for (double& x : p) x = std::exp(x - highest);
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  double entropy = 0, kept = 0;
  for (double& x : p) {
    x /= sum;
    if (x > 0) entropy -= x * std::log(x);
  }
  for (const uint32_t id : args.ids) kept += id == kNoExpert ? 0 : p[id - args.first_id];
  const double most = std::log(static_cast<double>(n * n));
  return {static_cast<float>(kept), static_cast<float>(n > 1 ? entropy / most : 0)};
}

}  // namespace peerage::kernels
