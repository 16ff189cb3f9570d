// Forward and backward of one-neuron experts: each pick's rows are met once in forward and once in
// backward, in the order of ordered_picks.h, and nothing of the size of the picks' rows is ever
// stored. What belongs to picks alone (hidden, coefficients) is in that order too.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>

#include "train/kernels/hidden_activation.h"
#include "train/ops/elements.h"
#include "train/ops/expert_arguments.h"
#include "train/ops/gradient_ledger.h"
#include "train/ops/ordered_picks.h"

namespace peerage::train {
namespace {

constexpr const char* kOp = "peer_experts";

// What both directions read. Tensors of which these are the elements outlive it.
template <typename T>
struct Call {
  using Value = kernels::Sum<T>;

  OrderedPicks picks;
  const Value* weights = nullptr;  // [tokens][picks of a token]
  const T* x = nullptr;            // [tokens][width]
  const T* down = nullptr;         // [experts][width]
  const T* up = nullptr;
  const T* gate = nullptr;  // or nullptr
  Activation activation = Activation::kGelu;
};

// The tensors of a call, laid out for it.
struct Arguments {
  at::Tensor order, weights, x, down, up, gate;
  Activation activation;

  template <typename T>
  Call<T> As() const {
    return {.picks = OrderedPicks(order, x.size(0), up),
            .weights = Elements<kernels::Sum<T>>(weights),
            .x = Elements<T>(x),
            .down = Elements<T>(down),
            .up = Elements<T>(up),
            .gate = gate.defined() ? Elements<T>(gate) : nullptr,
            .activation = activation};
  }
};

// Numbers of the picks of a block.
template <typename Value>
using Numbers = Value[PickBlock<float>::kMost];

// `hidden` [picks] becomes down . x, and `gated` gate . x.
template <typename T>
void ExpertsForward(const Call<T>& call, T* y, kernels::Sum<T>* hidden, kernels::Sum<T>* gated) {
  ForEachPart(call.picks, [&](kernels::OrderedPart part, int64_t first, int64_t tokens) {
    const PartRows<T> x(call.x, first, tokens, call.picks.width);
    const PartSums<T> sums(y, first, tokens, call.picks.width);
    Numbers<kernels::Sum<T>> values;
    ForEachBlock<T>(call.picks, part, first, [&](PickBlock<T>& block, int64_t at) {
      block.Dots(call.down, x, hidden + at);
      if (gated != nullptr) block.Dots(call.gate, x, gated + at);
      kernels::Activate({call.activation, block.count()}, (gated ? gated : hidden) + at, values,
                        nullptr);
      for (int64_t i = 0; i < block.count(); ++i) {
        values[i] *= call.weights[block.pick(i)];
        if (gated != nullptr) values[i] *= hidden[at + i];
      }
      block.Add(call.up, values, sums);
    });
    sums.Store();
  });
}

// Where backward writes.
template <typename T>
struct ExpertGradients {
  T* x = nullptr;                      // [tokens][width]
  kernels::Sum<T>* weights = nullptr;  // [tokens][picks of a token]
  // What multiplies the factors of the rows' gradients (gradient_ledger.h), [picks].
  kernels::Sum<T>* up = nullptr;
  kernels::Sum<T>* down = nullptr;
  kernels::Sum<T>* gate = nullptr;  // or nullptr
};

// With a = act(h) (or act(g) h, gated) and s = up . grad_y: the weight's gradient is a s, that of
// up's row w a grad_y, that of h w act'(h) s (gated: w act(g) s), that of g w act'(g) h s.
template <typename T>
void ExpertsBackward(const Call<T>& call, const T* grad_y, const kernels::Sum<T>* hidden,
                     const kernels::Sum<T>* gated, const ExpertGradients<T>& out) {
  ForEachPart(call.picks, [&](kernels::OrderedPart part, int64_t first, int64_t tokens) {
    const PartRows<T> gradient(grad_y, first, tokens, call.picks.width);
    const PartSums<T> sums(out.x, first, tokens, call.picks.width);
    Numbers<kernels::Sum<T>> dots, values, slopes;
    ForEachBlock<T>(call.picks, part, first, [&](PickBlock<T>& block, int64_t at) {
      block.Dots(call.up, gradient, dots);
      kernels::Activate({call.activation, block.count()}, (gated ? gated : hidden) + at, values,
                        slopes);
      for (int64_t i = 0; i < block.count(); ++i) {
        const auto weight = call.weights[block.pick(i)], weighted_dot = weight * dots[i];
        const auto value = gated ? values[i] * hidden[at + i] : values[i];
        out.weights[block.pick(i)] = value * dots[i];
        out.up[at + i] = weight * value;
        out.down[at + i] = weighted_dot * (gated ? values[i] : slopes[i]);
        if (gated != nullptr) out.gate[at + i] = weighted_dot * slopes[i] * hidden[at + i];
      }
      if (gated != nullptr) {
        block.AddBoth({call.down, call.gate}, {out.down + at, out.gate + at}, sums);
      } else {
        block.Add(call.down, out.down + at, sums);
      }
    });
    sums.Store();
  });
}

Arguments ArgumentsOf(const at::Tensor& x, const at::Tensor& order, const at::Tensor& weights,
                      const at::Tensor& down, const at::Tensor& up,
                      const std::optional<at::Tensor>& gate, std::string_view activation) {
  return {.order = order,
          .weights = weights.to(SumType(up.scalar_type())).contiguous(),
          .x = x.contiguous(),
          .down = down.contiguous(),
          .up = up.contiguous(),
          .gate = gate ? gate->contiguous() : at::Tensor(),
          .activation = ActivationOf(activation)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> PeerExpertsForward(
    const at::Tensor& x, const at::Tensor& ids, const at::Tensor& weights, const at::Tensor& down,
    const at::Tensor& up, const std::optional<at::Tensor>& gate, std::string_view activation) {
  CheckExperts(x, ids, weights, down, up, gate);
  const Arguments arguments =
      ArgumentsOf(x, OrderOf(kOp, ids, up), weights, down, up, gate, activation);
  const int64_t picks = ids.numel();
  at::Tensor y = at::empty({x.size(0), x.size(1)}, x.options());
  at::Tensor hidden = at::empty({gate ? 2 : 1, picks}, x.options().dtype(SumType(x.scalar_type())));
  if (picks == 0) y.zero_();
  WithElementType(kOp, x.scalar_type(), [&](auto element) {
    using T = decltype(element);
    auto* h = MutableElements<kernels::Sum<T>>(hidden);
    ExpertsForward<T>(arguments.As<T>(), MutableElements<T>(y), h, gate ? h + picks : nullptr);
  });
  return {y, arguments.order, hidden};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> PeerExpertsBackward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& order,
    const at::Tensor& weights, const at::Tensor& hidden, const at::Tensor& down,
    const at::Tensor& up, const std::optional<at::Tensor>& gate, std::string_view activation,
    int64_t ledger) {
  CheckGradient(kOp, grad_y, weights, up);
  CheckExpertTables(x, weights, down, up, gate);
  CheckOrder(kOp, order, weights.numel(), up.size(0));
  const Arguments arguments = ArgumentsOf(x, order, weights, down, up, gate, activation);
  const at::Tensor gradient = grad_y.contiguous();
  const int64_t picks = order.numel();
  at::Tensor grad_x = at::empty({x.size(0), x.size(1)}, x.options());
  at::Tensor grad_weights = at::empty(weights.sizes(), hidden.options());
  at::Tensor coefficients = at::empty({gate ? 3 : 2, picks}, hidden.options());
  if (picks == 0) grad_x.zero_();
  WithElementType(kOp, x.scalar_type(), [&](auto element) {
    using T = decltype(element);
    using Value = kernels::Sum<T>;
    const Value* h = Elements<Value>(hidden);
    Value* c = MutableElements<Value>(coefficients);
    ExpertsBackward<T>(arguments.As<T>(), Elements<T>(gradient), h, gate ? h + picks : nullptr,
                       {.x = MutableElements<T>(grad_x),
                        .weights = MutableElements<Value>(grad_weights),
                        .up = c,
                        .down = c + picks,
                        .gate = gate ? c + 2 * picks : nullptr});
  });
  if (ledger != 0) {
    // Copies, for whoever called may use the memory of all of these again.
    WriteLedger(ledger,
                {order.clone(), coefficients.clone(), arguments.x.clone(), gradient.clone()});
  }
  return {grad_x, grad_weights.to(weights.scalar_type()), coefficients};
}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, CPU, m) {
  m.impl("peer_experts_forward", PeerExpertsForward);
  m.impl("peer_experts_backward", PeerExpertsBackward);
}

}  // namespace peerage::train
