// Forward and backward of product-key memories, as peer_experts_cpu.cc: values are experts that say
// the same to every token.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>
#include <tuple>

#include "train/ops/elements.h"
#include "train/ops/expert_arguments.h"
#include "train/ops/gradient_ledger.h"
#include "train/ops/ordered_picks.h"

namespace peerage::train {
namespace {

constexpr const char* kOp = "pkm_values";

std::tuple<at::Tensor, at::Tensor> PkmValuesForward(const at::Tensor& ids,
                                                    const at::Tensor& weights,
                                                    const at::Tensor& values) {
  CheckPicks(kOp, ids, weights, values);
  const at::Tensor order = OrderOf(kOp, ids, values), table = values.contiguous();
  const at::Tensor all_weights = weights.to(SumType(values.scalar_type())).contiguous();
  at::Tensor y = at::empty({ids.size(0), values.size(1)}, values.options());
  if (order.numel() == 0) y.zero_();
  const OrderedPicks picks(kOp, order, ids.size(0), values);
  WithElementType(kOp, values.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const auto* weight = Elements<kernels::Sum<T>>(all_weights);
    ForEachPart(picks, [&](kernels::OrderedPart part, int64_t first, int64_t tokens) {
      const PartSums<T> sums(MutableElements<T>(y), first, tokens, picks.width);
      kernels::AddPicks(picks.Of(part, Elements<T>(table)), weight, sums.rows());
      sums.Store();
    });
  });
  return {y, order};
}

// The gradient of the weights, and the weights themselves [1, picks], which are what multiplies
// grad_y in the rows' gradients.
std::tuple<at::Tensor, at::Tensor> PkmValuesBackward(const at::Tensor& grad_y,
                                                     const at::Tensor& order,
                                                     const at::Tensor& weights,
                                                     const at::Tensor& values, int64_t ledger) {
  CheckGradient(kOp, grad_y, weights, values);
  CheckOrder(kOp, order, weights.numel(), values.size(0));
  const at::Tensor gradient = grad_y.contiguous(), table = values.contiguous();
  const at::Tensor all_weights = weights.to(SumType(values.scalar_type())).contiguous();
  at::Tensor grad_weights = at::empty(weights.sizes(), all_weights.options());
  const OrderedPicks picks(kOp, order, weights.size(0), values);
  WithElementType(kOp, values.scalar_type(), [&](auto element) {
    using T = decltype(element);
    auto* dots = MutableElements<kernels::Sum<T>>(grad_weights);
    ForEachPart(picks, [&](kernels::OrderedPart part, int64_t first, int64_t tokens) {
      const PartRows<T> rows(Elements<T>(gradient), first, tokens, picks.width);
      kernels::PickDots(picks.Of(part, Elements<T>(table)), rows.rows(), dots);
    });
  });
  const at::Tensor coefficients = all_weights.reshape({1, order.numel()}).clone();
  if (ledger != 0)
    WriteLedger(ledger, {OrderedByRow(order, BlocksOf(values.size(0), values)),
                         coefficients.clone(),
                         {},
                         gradient.clone()});
  return {grad_weights.to(weights.scalar_type()), coefficients};
}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, CPU, m) {
  m.impl("pkm_values_forward", PkmValuesForward);
  m.impl("pkm_values_backward", PkmValuesBackward);
}

}  // namespace peerage::train
