#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "model/experts/expert_usage.h"
#include "model/kernels/experts.h"

namespace peerage::kernels {
namespace {

double Dot(const std::vector<float>& weights, const float* x) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) sum += static_cast<double>(weights[i]) * x[i];
  return sum;
}

bool AllFinite(const float* x, int n) {
  return std::all_of(x, x + n, [](float v) { return std::isfinite(v); });
}

// weight * the factor of the expert's last vector.
double Coefficient(const ExpertArgs& args, const float* x, size_t pick) {
  const ExpertTable& table = args.table;
  const double weight = args.weights[pick];
  if (table.kind == ExpertKind::kValue) return weight;
  if (!AllFinite(x, table.width)) return std::numeric_limits<double>::quiet_NaN();
  std::vector<float> weights(table.width);
  UnpackExpert(table, args.ids[pick], 0, weights.data());
  const double activation = ActivationReference(args.activation, Dot(weights, x));
  if (table.kind == ExpertKind::kNeuron) return weight * activation;
  UnpackExpert(table, args.ids[pick], 1, weights.data());
  return weight * activation * Dot(weights, x);
}

}  // namespace

void AddExpertsReference(const ExpertArgs& args, int first, int end) {
  const int width = args.table.width;
  const size_t picks = static_cast<size_t>(args.heads) * args.top_k;
  std::vector<float> last(width);
  for (int token = first; token < end; ++token) {
    const float* x =
        args.table.kind == ExpertKind::kValue ? nullptr : args.x + token * args.x_stride;
    std::vector<double> sum(width);
    for (size_t pick = token * picks; pick < (token + 1) * picks; ++pick) {
      if (args.ids[pick] == kNoExpert) continue;
      const double coefficient = Coefficient(args, x, pick);
      UnpackExpert(args.table, args.ids[pick], args.table.vectors() - 1, last.data());
      for (int i = 0; i < width; ++i) sum[i] += coefficient * last[i];
    }
    float* y = args.y + token * args.y_stride;
    for (int i = 0; i < width; ++i) y[i] = static_cast<float>(y[i] + sum[i]);
  }
}

}  // namespace peerage::kernels
