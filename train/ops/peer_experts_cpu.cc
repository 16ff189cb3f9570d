// Forward and backward of one-neuron experts, token by token: each pick's rows are read once in
// forward and once in backward, and nothing of the size of the picks' rows is ever stored.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "train/kernels/hidden_activation.h"
#include "train/kernels/table_rows.h"
#include "train/ops/elements.h"
#include "train/ops/expert_arguments.h"
#include "train/ops/gradient_ledger.h"

namespace peerage::train {
namespace {

using kernels::AddRows;
using kernels::LoadRow;
using kernels::PickedRows;
using kernels::RowDots;
using kernels::StoreRow;

constexpr int64_t kTokensAtOnce = 4;           // less is not worth another thread
constexpr int64_t kCached = 24 * 1024 * 1024;  // bytes of a table that caches may hold

// What both directions read. Tensors of which these are the elements outlive it.
template <typename T>
struct Call {
  using Value = kernels::Sum<T>;

  PickedRows<T> Rows(const T* table, int64_t token) const {
    return {table, width, ids + token * picks, picks, far};
  }

  int64_t tokens = 0;
  int64_t picks = 0;  // of a token
  int64_t width = 0;
  bool far = false;
  const int64_t* ids = nullptr;    // [tokens][picks]
  const Value* weights = nullptr;  // likewise
  const T* x = nullptr;            // [tokens][width]; nullptr for values
  const T* down = nullptr;         // [experts][width]; nullptr for values
  const T* up = nullptr;           // or the values
  const T* gate = nullptr;         // or nullptr
  Activation activation = Activation::kGelu;
};

// The tensors of a call, laid out for it.
struct Arguments {
  at::Tensor ids, weights, x, down, up, gate;

  static Arguments Of(const at::Tensor& ids, const at::Tensor& weights, const at::Tensor& up) {
    return {.ids = ids.contiguous(),
            .weights = weights.to(SumType(up.scalar_type())).contiguous(),
            .up = up.contiguous()};
  }

  template <typename T>
  Call<T> As() const {
    return {.tokens = ids.size(0),
            .picks = ids.size(1) * ids.size(2),
            .width = up.size(1),
            .far = up.numel() * static_cast<int64_t>(sizeof(T)) > kCached,
            .ids = Elements<int64_t>(ids),
            .weights = Elements<kernels::Sum<T>>(weights),
            .x = ElementsIf<T>(x),
            .down = ElementsIf<T>(down),
            .up = Elements<T>(up),
            .gate = ElementsIf<T>(gate)};
  }

 private:
  template <typename T>
  static const T* ElementsIf(const at::Tensor& tensor) {
    return tensor.defined() ? Elements<T>(tensor) : nullptr;
  }
};

// One thread's arrays for a token.
template <typename T>
struct TokenScratch {
  using Value = kernels::Sum<T>;
  explicit TokenScratch(const Call<T>& call)
      : x(call.width),
        grad_y(call.width),
        sum(call.width),
        values(call.picks),
        slopes(call.picks),
        coefficients(call.picks),
        dots(call.picks) {}
  std::vector<Value> x, grad_y, sum;                      // [width]
  std::vector<Value> values, slopes, coefficients, dots;  // [picks]
};

// body(token, scratch) for all tokens, each by one of torch's threads.
template <typename T, typename Body>
void ForEachToken(const Call<T>& call, const Body& body) {
  at::parallel_for(0, call.tokens, kTokensAtOnce, [&](int64_t begin, int64_t end) {
    TokenScratch<T> scratch(call);
    for (int64_t token = begin; token < end; ++token) body(token, scratch);
  });
}

// `hidden` [tokens][picks] becomes down . x, and `gated` gate . x.
template <typename T>
void ExpertsForward(const Call<T>& call, T* y, kernels::Sum<T>* hidden, kernels::Sum<T>* gated) {
  ForEachToken(call, [&](int64_t token, TokenScratch<T>& s) {
    const int64_t first = token * call.picks;
    LoadRow(call.x + token * call.width, call.width, s.x.data());
    RowDots(call.Rows(call.down, token), s.x.data(), hidden + first);
    if (gated != nullptr) RowDots(call.Rows(call.gate, token), s.x.data(), gated + first);
    kernels::Activate({call.activation, call.picks}, (gated ? gated : hidden) + first,
                      s.values.data(), nullptr);
    for (int64_t i = 0; i < call.picks; ++i) {
      s.values[i] *= call.weights[first + i];
      if (gated != nullptr) s.values[i] *= hidden[first + i];
    }
    std::fill(s.sum.begin(), s.sum.end(), 0);
    AddRows(call.Rows(call.up, token), s.values.data(), s.sum.data());
    StoreRow(s.sum.data(), call.width, y + token * call.width);
  });
}

// Where backward writes: [tokens][picks] each, but for grad_x.
template <typename T>
struct ExpertGradients {
  T* grad_x = nullptr;  // [tokens][width]
  kernels::Sum<T>* weights = nullptr;
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
  ForEachToken(call, [&](int64_t token, TokenScratch<T>& s) {
    const int64_t first = token * call.picks;
    LoadRow(grad_y + token * call.width, call.width, s.grad_y.data());
    RowDots(call.Rows(call.up, token), s.grad_y.data(), s.dots.data());
    kernels::Activate({call.activation, call.picks}, (gated ? gated : hidden) + first,
                      s.values.data(), s.slopes.data());
    for (int64_t i = 0; i < call.picks; ++i) {
      const int64_t pick = first + i;
      const auto weight = call.weights[pick], weighted_dot = weight * s.dots[i];
      const auto value = gated ? s.values[i] * hidden[pick] : s.values[i];
      out.weights[pick] = value * s.dots[i];
      out.up[pick] = weight * value;
      out.down[pick] = weighted_dot * (gated ? s.values[i] : s.slopes[i]);
      if (gated != nullptr) out.gate[pick] = weighted_dot * s.slopes[i] * hidden[pick];
    }
    std::fill(s.sum.begin(), s.sum.end(), 0);
    AddRows(call.Rows(call.down, token), out.down + first, s.sum.data());
    if (gated != nullptr) AddRows(call.Rows(call.gate, token), out.gate + first, s.sum.data());
    StoreRow(s.sum.data(), call.width, out.grad_x + token * call.width);
  });
}

Arguments ExpertArguments(const at::Tensor& x, const at::Tensor& ids, const at::Tensor& weights,
                          const at::Tensor& down, const at::Tensor& up,
                          const std::optional<at::Tensor>& gate) {
  CheckExperts(x, ids, weights, down, up, gate);
  CheckIds("peer_experts", ids.contiguous(), up.size(0));
  Arguments arguments = Arguments::Of(ids, weights, up);
  arguments.x = x.contiguous();
  arguments.down = down.contiguous();
  if (gate) arguments.gate = gate->contiguous();
  return arguments;
}

std::tuple<at::Tensor, at::Tensor> PeerExpertsForward(const at::Tensor& x, const at::Tensor& ids,
                                                      const at::Tensor& weights,
                                                      const at::Tensor& down, const at::Tensor& up,
                                                      const std::optional<at::Tensor>& gate,
                                                      std::string_view activation) {
  const Arguments arguments = ExpertArguments(x, ids, weights, down, up, gate);
  at::Tensor y = at::empty({x.size(0), x.size(1)}, x.options());
  at::Tensor hidden = at::empty({gate ? 2 : 1, ids.size(0), ids.size(1), ids.size(2)},
                                x.options().dtype(SumType(x.scalar_type())));
  WithElementType("peer_experts", x.scalar_type(), [&](auto element) {
    using T = decltype(element);
    Call<T> call = arguments.As<T>();
    call.activation = ActivationOf(activation);
    auto* h = MutableElements<kernels::Sum<T>>(hidden);
    ExpertsForward<T>(call, MutableElements<T>(y), h, gate ? h + ids.numel() : nullptr);
  });
  return {y, hidden};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> PeerExpertsBackward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& ids, const at::Tensor& weights,
    const at::Tensor& hidden, const at::Tensor& down, const at::Tensor& up,
    const std::optional<at::Tensor>& gate, std::string_view activation, int64_t ledger) {
  CheckGradient("peer_experts", grad_y, ids, up);
  const Arguments arguments = ExpertArguments(x, ids, weights, down, up, gate);
  const at::Tensor gradient = grad_y.contiguous();
  at::Tensor grad_x = at::empty({x.size(0), x.size(1)}, x.options());
  at::Tensor grad_weights = at::empty(ids.sizes(), hidden.options());
  at::Tensor coefficients =
      at::empty({gate ? 3 : 2, ids.size(0), ids.size(1), ids.size(2)}, hidden.options());
  WithElementType("peer_experts", x.scalar_type(), [&](auto element) {
    using T = decltype(element);
    using Value = kernels::Sum<T>;
    Call<T> call = arguments.As<T>();
    call.activation = ActivationOf(activation);
    const Value* h = Elements<Value>(hidden);
    Value* c = MutableElements<Value>(coefficients);
    const int64_t picks = ids.numel();
    ExpertsBackward<T>(call, Elements<T>(gradient), h, gate ? h + picks : nullptr,
                       {.grad_x = MutableElements<T>(grad_x),
                        .weights = MutableElements<Value>(grad_weights),
                        .up = c,
                        .down = c + picks,
                        .gate = gate ? c + 2 * picks : nullptr});
  });
  if (ledger != 0) {
    // Copies, for whoever called may use the memory of all of these again.
    WriteLedger(ledger, {arguments.ids.clone(), coefficients.clone(), arguments.x.clone(),
                         gradient.clone()});
  }
  return {grad_x, grad_weights.to(weights.scalar_type()), coefficients};
}

Arguments ValueArguments(const at::Tensor& ids, const at::Tensor& weights,
                         const at::Tensor& values) {
  CheckPicks("pkm_values", ids, weights, values);
  CheckIds("pkm_values", ids.contiguous(), values.size(0));
  return Arguments::Of(ids, weights, values);
}

at::Tensor PkmValuesForward(const at::Tensor& ids, const at::Tensor& weights,
                            const at::Tensor& values) {
  const Arguments arguments = ValueArguments(ids, weights, values);
  at::Tensor y = at::empty({ids.size(0), values.size(1)}, values.options());
  WithElementType("pkm_values", values.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const Call<T> call = arguments.As<T>();
    T* out = MutableElements<T>(y);
    ForEachToken(call, [&](int64_t token, TokenScratch<T>& s) {
      std::fill(s.sum.begin(), s.sum.end(), 0);
      AddRows(call.Rows(call.up, token), call.weights + token * call.picks, s.sum.data());
      StoreRow(s.sum.data(), call.width, out + token * call.width);
    });
  });
  return y;
}

at::Tensor PkmValuesBackward(const at::Tensor& grad_y, const at::Tensor& ids,
                             const at::Tensor& weights, const at::Tensor& values, int64_t ledger) {
  CheckGradient("pkm_values", grad_y, ids, values);
  const Arguments arguments = ValueArguments(ids, weights, values);
  const at::Tensor gradient = grad_y.contiguous();
  at::Tensor grad_weights = at::empty(ids.sizes(), arguments.weights.options());
  WithElementType("pkm_values", values.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const Call<T> call = arguments.As<T>();
    auto* out = MutableElements<kernels::Sum<T>>(grad_weights);
    ForEachToken(call, [&](int64_t token, TokenScratch<T>& s) {
      LoadRow(Elements<T>(gradient) + token * call.width, call.width, s.grad_y.data());
      RowDots(call.Rows(call.up, token), s.grad_y.data(), out + token * call.picks);
    });
  });
  if (ledger != 0) {
    WriteLedger(
        ledger,
        {arguments.ids.clone(), arguments.weights.unsqueeze(0).clone(), {}, gradient.clone()});
  }
  return grad_weights.to(weights.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, CPU, m) {
  m.impl("peer_experts_forward", PeerExpertsForward);
  m.impl("peer_experts_backward", PeerExpertsBackward);
  m.impl("pkm_values_forward", PkmValuesForward);
  m.impl("pkm_values_backward", PkmValuesBackward);
}

}  // namespace peerage::train
