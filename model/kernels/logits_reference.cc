#include <algorithm>
#include <cmath>

#include "model/kernels/logits.h"

namespace peerage::kernels {

double LogSumExpReference(std::span<const float> logits) {
  double highest = -INFINITY;
  for (const float x : logits) {
    if (!(x < INFINITY)) return NAN;
    highest = std::max(highest, double{x});
  }
  if (highest == -INFINITY) return NAN;
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - highest);
  return highest + std::log(sum);
}

}  // namespace peerage::kernels
