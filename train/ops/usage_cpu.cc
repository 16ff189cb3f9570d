#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <cstdint>

#include "train/ops/elements.h"
#include "train/ops/expert_arguments.h"

namespace peerage::train {
namespace {

// How often each expert was picked, and the sum of its weights, in order of tokens.
void CountUsage(const at::Tensor& picks, const at::Tensor& score_sums, const at::Tensor& ids,
                const at::Tensor& weights) {
  TORCH_CHECK(picks.scalar_type() == at::kLong && score_sums.scalar_type() == at::kDouble &&
                  picks.sizes() == score_sums.sizes() && picks.is_contiguous() &&
                  score_sums.is_contiguous(),
              "count_usage: picks must be int64 and score_sums float64, a number for each expert");
  TORCH_CHECK(ids.sizes() == weights.sizes(), "count_usage: ids are ", ids.sizes(),
              ", but weights ", weights.sizes());
  const at::Tensor all = ids.contiguous(), scores = weights.to(at::kDouble).contiguous();
  CheckIds("count_usage", all, picks.numel());
  const int64_t* id = Elements<int64_t>(all);
  const double* score = Elements<double>(scores);
  int64_t* count = MutableElements<int64_t>(picks);
  double* sum = MutableElements<double>(score_sums);
  for (int64_t i = 0; i < all.numel(); ++i) {
    ++count[id[i]];
    sum[id[i]] += score[i];
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, CPU, m) { m.impl("count_usage_", CountUsage); }

}  // namespace peerage::train
