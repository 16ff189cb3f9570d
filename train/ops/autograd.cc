// The three operators with their gradients: forward and backward call the operators of schemas.cc,
// so that whoever traces them (torch.compile) sees these.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_sparse_coo_tensor_unsafe.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "train/ops/expert_arguments.h"
#include "train/ops/operators.h"

namespace peerage::train {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<Tensor>;

template <typename Signature, typename... Arguments>
auto Call(const char* name, Arguments&&... arguments) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>().call(
      std::forward<Arguments>(arguments)...);
}

// ---- product_key_top_k

std::tuple<Tensor, Tensor> TopKForward(const Tensor& queries, const Tensor& sub_keys, int64_t top_k,
                                       std::optional<int64_t> sub_top_k) {
  return Call<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, int64_t,
                                         std::optional<int64_t>)>(
      "peerage::product_key_top_k_forward", queries, sub_keys, top_k, sub_top_k);
}

struct TopKFunction : torch::autograd::Function<TopKFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& queries,
                               const Tensor& sub_keys, int64_t top_k,
                               std::optional<int64_t> sub_top_k) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [scores, ids] = TopKForward(queries, sub_keys, top_k, sub_top_k);
    context->mark_non_differentiable({ids});
    context->save_for_backward({ids, queries, sub_keys});
    return {scores, ids};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    if (!gradients[0].defined()) return variable_list(4);
    auto [queries, sub_keys] = Call<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&,
                                                               const Tensor&, const Tensor&)>(
        "peerage::product_key_top_k_backward", gradients[0], saved[0], saved[1], saved[2]);
    return {queries, sub_keys, {}, {}};
  }
};

std::tuple<Tensor, Tensor> TopKWithGradient(const Tensor& queries, const Tensor& sub_keys,
                                            int64_t top_k, std::optional<int64_t> sub_top_k) {
  const variable_list picks = TopKFunction::apply(queries, sub_keys, top_k, sub_top_k);
  return {picks[0], picks[1]};
}

// ---- gradients of tables

// In the order of the coefficients; none for a ledger, which backward itself wrote.
variable_list TableGradientsOf(std::string_view kind, const Tensor& order,
                               const Tensor& coefficients, const OptionalTensor& x,
                               const Tensor& grad_y, const Tensor& table) {
  using Signature = std::vector<Tensor>(const Tensor&, const Tensor&, const OptionalTensor&,
                                        const Tensor&, c10::SymInt);
  if (kind == kLedger) return variable_list(coefficients.size(0));
  if (kind == kDense) {
    return Call<Signature>("peerage::table_gradients", order, coefficients, x, grad_y,
                           table.sym_size(0));
  }
  const std::vector<Tensor> rows = Call<Signature>("peerage::table_gradient_rows", order,
                                                   coefficients, x, grad_y, table.sym_size(0));
  variable_list out;
  for (size_t i = 1; i < rows.size(); ++i) {
    out.push_back(at::_sparse_coo_tensor_unsafe(rows[0].unsqueeze(0), rows[i], table.sizes(),
                                                table.options().layout(at::kSparse),
                                                /*is_coalesced=*/true));
  }
  return out;
}

// ---- peer_experts

std::tuple<Tensor, Tensor, Tensor> ExpertsForward(const Tensor& x, const Tensor& ids,
                                                  const Tensor& weights, const Tensor& down,
                                                  const Tensor& up, const OptionalTensor& gate,
                                                  std::string_view activation) {
  return Call<std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&,
                                                 const Tensor&, const Tensor&,
                                                 const OptionalTensor&, std::string_view)>(
      "peerage::peer_experts_forward", x, ids, weights, down, up, gate, activation);
}

struct ExpertsFunction : torch::autograd::Function<ExpertsFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& ids,
                        const Tensor& weights, const Tensor& down, const Tensor& up,
                        const OptionalTensor& gate, const ExpertOptions& options) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [y, order, hidden] = ExpertsForward(x, ids, weights, down, up, gate, options.activation);
    context->save_for_backward({x, order, weights, hidden, down, up, gate.value_or(Tensor())});
    context->saved_data["activation"] = std::string(options.activation);
    context->saved_data["kind"] = std::string(options.table_gradient.kind);
    context->saved_data["ledger"] = options.table_gradient.ledger;
    context->saved_data["tables_learn"] =
        down.requires_grad() || up.requires_grad() || (gate && gate->requires_grad());
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (!gradients[0].defined()) return variable_list(7);
    const variable_list saved = context->get_saved_variables();
    const auto &x = saved[0], &order = saved[1], &up = saved[5];
    const OptionalTensor gate = saved[6].defined() ? OptionalTensor(saved[6]) : std::nullopt;
    const bool tables_learn = context->saved_data["tables_learn"].toBool();
    auto [grad_x, grad_weights, coefficients] = Call<std::tuple<Tensor, Tensor, Tensor>(
        const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
        const Tensor&, const OptionalTensor&, std::string_view, int64_t)>(
        "peerage::peer_experts_backward", gradients[0], x, order, saved[2], saved[3], saved[4], up,
        gate, context->saved_data["activation"].toStringView(),
        tables_learn ? context->saved_data["ledger"].toInt() : 0);
    variable_list tables(3);
    if (tables_learn) {
      tables = TableGradientsOf(context->saved_data["kind"].toStringView(), order, coefficients, x,
                                gradients[0], up);
      tables.resize(3);
    }
    return {grad_x, {}, grad_weights, tables[1], tables[0], tables[2], {}};
  }
};

Tensor ExpertsWithGradient(const Tensor& x, const Tensor& ids, const Tensor& weights,
                           const Tensor& down, const Tensor& up, const OptionalTensor& gate,
                           std::string_view activation, std::string_view table_gradient,
                           int64_t ledger) {
  CheckTableGradient("peer_experts", table_gradient, ledger);
  return ExpertsFunction::apply(x, ids, weights, down, up, gate,
                                ExpertOptions{activation, {table_gradient, ledger}});
}

Tensor ExpertsAlone(const Tensor& x, const Tensor& ids, const Tensor& weights, const Tensor& down,
                    const Tensor& up, const OptionalTensor& gate, std::string_view activation,
                    std::string_view table_gradient, int64_t ledger) {
  CheckTableGradient("peer_experts", table_gradient, ledger);
  return std::get<0>(ExpertsForward(x, ids, weights, down, up, gate, activation));
}

// ---- pkm_values

std::tuple<Tensor, Tensor> ValuesForward(const Tensor& ids, const Tensor& weights,
                                         const Tensor& values) {
  return Call<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&)>(
      "peerage::pkm_values_forward", ids, weights, values);
}

struct ValuesFunction : torch::autograd::Function<ValuesFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& ids, const Tensor& weights,
                        const Tensor& values, const TableGradient& table_gradient) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [y, order] = ValuesForward(ids, weights, values);
    context->save_for_backward({order, weights, values});
    context->saved_data["kind"] = std::string(table_gradient.kind);
    context->saved_data["ledger"] = table_gradient.ledger;
    context->saved_data["values_learn"] = values.requires_grad();
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (!gradients[0].defined()) return variable_list(4);
    const variable_list saved = context->get_saved_variables();
    const bool values_learn = context->saved_data["values_learn"].toBool();
    auto [grad_weights, coefficients] = Call<std::tuple<Tensor, Tensor>(
        const Tensor&, const Tensor&, const Tensor&, const Tensor&, int64_t)>(
        "peerage::pkm_values_backward", gradients[0], saved[0], saved[1], saved[2],
        values_learn ? context->saved_data["ledger"].toInt() : 0);
    Tensor grad_values;
    if (values_learn) {
      grad_values = TableGradientsOf(context->saved_data["kind"].toStringView(), saved[0],
                                     coefficients, std::nullopt, gradients[0], saved[2])[0];
    }
    return {{}, grad_weights, grad_values, {}};
  }
};

Tensor ValuesWithGradient(const Tensor& ids, const Tensor& weights, const Tensor& values,
                          std::string_view table_gradient, int64_t ledger) {
  CheckTableGradient("pkm_values", table_gradient, ledger);
  return ValuesFunction::apply(ids, weights, values, TableGradient{table_gradient, ledger});
}

Tensor ValuesAlone(const Tensor& ids, const Tensor& weights, const Tensor& values,
                   std::string_view table_gradient, int64_t ledger) {
  CheckTableGradient("pkm_values", table_gradient, ledger);
  return std::get<0>(ValuesForward(ids, weights, values));
}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, Autograd, m) {
  m.impl("product_key_top_k", TopKWithGradient);
  m.impl("peer_experts", ExpertsWithGradient);
  m.impl("pkm_values", ValuesWithGradient);
}
TORCH_LIBRARY_IMPL(peerage, CompositeExplicitAutograd, m) {
  m.impl("product_key_top_k", TopKForward);
  m.impl("peer_experts", ExpertsAlone);
  m.impl("pkm_values", ValuesAlone);
}

ProductKeyPicks ProductKeyTopK(const Tensor& queries, const Tensor& sub_keys, int64_t top_k,
                               std::optional<int64_t> sub_top_k) {
  auto [scores, ids] = Call<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, int64_t,
                                                       std::optional<int64_t>)>(
      "peerage::product_key_top_k", queries, sub_keys, top_k, sub_top_k);
  return {ids, scores};
}

Tensor PeerExperts(const Tensor& x, const ProductKeyPicks& picks, const ExpertTables& tables,
                   const ExpertOptions& options) {
  return Call<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                     const OptionalTensor&, std::string_view, std::string_view, int64_t)>(
      "peerage::peer_experts", x, picks.ids, picks.scores, tables.down, tables.up, tables.gate,
      options.activation, options.table_gradient.kind, options.table_gradient.ledger);
}

Tensor PkmValues(const ProductKeyPicks& picks, const Tensor& values,
                 const TableGradient& table_gradient) {
  return Call<Tensor(const Tensor&, const Tensor&, const Tensor&, std::string_view, int64_t)>(
      "peerage::pkm_values", picks.ids, picks.scores, values, table_gradient.kind,
      table_gradient.ledger);
}

}  // namespace peerage::train
