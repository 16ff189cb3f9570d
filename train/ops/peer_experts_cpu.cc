// Forward and backward of one-neuron experts, in the order of ordered_picks.h: nothing of the size
// of the picks' rows is ever stored. What belongs to picks alone (hidden, coefficients) is in the
// order of the ids.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
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
    return {.picks = OrderedPicks(kOp, order, x.size(0), up),
            .weights = Elements<kernels::Sum<T>>(weights),
            .x = Elements<T>(x),
            .down = Elements<T>(down),
            .up = Elements<T>(up),
            .gate = gate.defined() ? Elements<T>(gate) : nullptr,
            .activation = activation};
  }
};

// How many picks' activations are computed at once: their values stay in the L1 cache.
constexpr int64_t kActivated = 512;

// use(first, count, values, slopes) for the picks of a part, a few at a time.
template <typename Value, typename Use>
void ForEachActivated(Activation activation, kernels::OrderedPart part, const Value* hidden,
                      const Use& use) {
  Value values[kActivated], slopes[kActivated];
  for (int64_t first = part.begin; first < part.end; first += kActivated) {
    const int64_t count = std::min(kActivated, part.end - first);
    kernels::Activate({activation, count}, hidden + first, values, slopes);
    use(first, count, values, slopes);
  }
}

// Where forward writes, and has room for a number for each pick.
template <typename T>
struct ExpertOutputs {
  T* y = nullptr;
  kernels::Sum<T>* hidden = nullptr;  // [picks]: down . x
  kernels::Sum<T>* gated = nullptr;   // gate . x, or nullptr
  kernels::Sum<T>* room = nullptr;
};

template <typename T>
void ExpertsForward(const Call<T>& call, const ExpertOutputs<T>& out) {
  using Value = kernels::Sum<T>;
  ForEachPart(call.picks, [&](kernels::OrderedPart part, int64_t first, int64_t tokens) {
    const PartRows<T> x(call.x, first, tokens, call.picks.width);
    const PartSums<T> sums(out.y, first, tokens, call.picks.width);
    kernels::PickDots(call.picks.Of(part, call.down), x.rows(), out.hidden);
    if (out.gated) kernels::PickDots(call.picks.Of(part, call.gate), x.rows(), out.gated);
    ForEachActivated(call.activation, part, out.gated ? out.gated : out.hidden,
                     [&](int64_t at, int64_t count, const Value* values, const Value*) {
                       for (int64_t i = 0; i < count; ++i) {
                         const Value value = values[i] * call.weights[at + i];
                         out.room[at + i] = out.gated ? value * out.hidden[at + i] : value;
                       }
                     });
    kernels::AddPicks(call.picks.Of(part, call.up), out.room, sums.rows());
    sums.Store();
  });
}

// Where backward writes.
template <typename T>
struct ExpertGradients {
  T* x = nullptr;                      // [tokens][width]
  kernels::Sum<T>* weights = nullptr;  // [tokens][picks of a token], as what follows
  // What multiplies the factors of the rows' gradients (gradient_ledger.h).
  kernels::Sum<T>* up = nullptr;
  kernels::Sum<T>* down = nullptr;
  kernels::Sum<T>* gate = nullptr;  // or nullptr
};

// With a = act(h) (or act(g) h, gated) and s = up . grad_y: the weight's gradient is a s, that of
// up's row w a grad_y, that of h w act'(h) s (gated: w act(g) s), that of g w act'(g) h s.
template <typename T>
void ExpertsBackward(const Call<T>& call, const T* grad_y, const kernels::Sum<T>* hidden,
                     const kernels::Sum<T>* gated, const ExpertGradients<T>& out) {
  using Value = kernels::Sum<T>;
  ForEachPart(call.picks, [&](kernels::OrderedPart part, int64_t first, int64_t tokens) {
    const PartRows<T> gradient(grad_y, first, tokens, call.picks.width);
    const PartSums<T> sums(out.x, first, tokens, call.picks.width);
    Value* dots = out.weights;  // until they are multiplied by values
    kernels::PickDots(call.picks.Of(part, call.up), gradient.rows(), dots);
    ForEachActivated(call.activation, part, gated ? gated : hidden,
                     [&](int64_t at, int64_t count, const Value* values, const Value* slopes) {
                       for (int64_t i = 0; i < count; ++i) {
                         const Value weight = call.weights[at + i],
                                     weighted_dot = weight * dots[at + i];
                         const Value value = gated ? values[i] * hidden[at + i] : values[i];
                         out.up[at + i] = weight * value;
                         out.down[at + i] = weighted_dot * (gated ? values[i] : slopes[i]);
                         if (gated != nullptr)
                           out.gate[at + i] = weighted_dot * slopes[i] * hidden[at + i];
                         out.weights[at + i] = value * dots[at + i];
                       }
                     });
    kernels::AddPicks(call.picks.Of(part, call.down), out.down, sums.rows());
    if (gated) kernels::AddPicks(call.picks.Of(part, call.gate), out.gate, sums.rows());
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
  const at::Tensor room = at::empty({picks}, hidden.options());
  if (picks == 0) y.zero_();
  WithElementType(kOp, x.scalar_type(), [&](auto element) {
    using T = decltype(element);
    auto* h = MutableElements<kernels::Sum<T>>(hidden);
    ExpertsForward<T>(arguments.As<T>(), {.y = MutableElements<T>(y),
                                          .hidden = h,
                                          .gated = gate ? h + picks : nullptr,
                                          .room = MutableElements<kernels::Sum<T>>(room)});
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
    WriteLedger(ledger, {OrderedByRow(order, BlocksOf(up.size(0), up)), coefficients.clone(),
                         arguments.x.clone(), gradient.clone()});
  }
  return {grad_x, grad_weights.to(weights.scalar_type()), coefficients};
}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, CPU, m) {
  m.impl("peer_experts_forward", PeerExpertsForward);
  m.impl("peer_experts_backward", PeerExpertsBackward);
}

}  // namespace peerage::train
