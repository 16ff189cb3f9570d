#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "model/experts/expert_usage.h"
#include "model/kernels/logits.h"
#include "model/kernels/router_figures.h"

namespace peerage::kernels {
namespace {

constexpr RouterFigures kUnknown = {std::numeric_limits<float>::quiet_NaN(),
                                    std::numeric_limits<float>::quiet_NaN()};

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

// w = exp(s - max s), of which softmax is w / sum.
struct Half {
  std::span<const float> weights;
  double sum = 0;
  double entropy = 0;

  Half(std::span<const float> scores, std::span<float> room) : weights(room) {
    SoftmaxWeights(scores, 1, room);
    const float highest = *std::max_element(scores.begin(), scores.end());
    // Several sums at once: each addition waits for the one before it.
    constexpr size_t kSums = 8;
    std::array<double, kSums> sums = {}, moments = {};
    for (size_t i = 0; i < scores.size(); ++i) {
      const double weight = room[i];
      sums[i % kSums] += weight;
      moments[i % kSums] += weight * (scores[i] - highest);
    }
    sum = std::accumulate(sums.begin(), sums.end(), 0.0);
    entropy = std::log(sum) - std::accumulate(moments.begin(), moments.end(), 0.0) / sum;
  }
};

float Ratio(double value) { return static_cast<float>(std::clamp(value, 0.0, 1.0)); }

double EntropyRatio(double entropy, double num_experts) {
  return num_experts > 1 ? entropy / std::log(num_experts) : 0.0;
}

}  // namespace

RouterFigures ProductKeyFigures(const ProductKeyFiguresArgs& args) {
  const size_t n = args.scores[0].size();
  if (!AllFinite(args.scores[0]) || !AllFinite(args.scores[1])) return kUnknown;
  const Half rows(args.scores[0], args.scratch.first(n));
  const Half columns(args.scores[1], args.scratch.subspan(n, n));
  double kept = 0;
  for (const uint32_t id : args.ids) {
    if (id == kNoExpert) continue;
    const uint32_t expert = id - args.first_id;
    kept += double{rows.weights[expert / n]} * columns.weights[expert % n];
  }
  const double num_experts = static_cast<double>(n) * static_cast<double>(n);
  return {Ratio(kept / (rows.sum * columns.sum)),
          Ratio(EntropyRatio(rows.entropy + columns.entropy, num_experts))};
}

RouterFigures GateFigures(std::span<const float> p, std::span<const uint32_t> ids) {
  double entropy = 0, kept = 0;
  for (const float x : p) {
    if (x != 0) entropy -= x * std::log(double{x});
  }
  for (const uint32_t id : ids) kept += id == kNoExpert ? 0 : p[id];
  return {Ratio(kept), Ratio(EntropyRatio(entropy, static_cast<double>(p.size())))};
}

}  // namespace peerage::kernels
