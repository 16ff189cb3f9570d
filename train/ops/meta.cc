// The shapes and types of results, for tensors without data: torch.compile asks them.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "train/ops/elements.h"
#include "train/ops/expert_arguments.h"
#include "train/ops/router_arguments.h"

namespace peerage::train {
namespace {

using Shape = std::vector<c10::SymInt>;

at::Tensor Empty(const Shape& shape, const at::Tensor& like, at::ScalarType type) {
  return at::empty_symint(shape, like.options().dtype(type));
}

std::tuple<at::Tensor, at::Tensor> ProductKeyTopKForward(const at::Tensor& queries,
                                                         const at::Tensor& sub_keys, int64_t top_k,
                                                         std::optional<int64_t> sub_top_k) {
  CheckRouter(queries, sub_keys, top_k, sub_top_k);
  const Shape shape{queries.sym_size(0), queries.sym_size(1), top_k};
  return {Empty(shape, queries, queries.scalar_type()), Empty(shape, queries, at::kLong)};
}

std::tuple<at::Tensor, at::Tensor> ProductKeyTopKBackward(const at::Tensor& grad_scores,
                                                          const at::Tensor& ids,
                                                          const at::Tensor& queries,
                                                          const at::Tensor& sub_keys) {
  return {EmptyLikeQueries(queries, queries.scalar_type()),
          Empty(sub_keys.sym_sizes().vec(), sub_keys, sub_keys.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> PeerExpertsForward(
    const at::Tensor& x, const at::Tensor& ids, const at::Tensor& weights, const at::Tensor& down,
    const at::Tensor& up, const std::optional<at::Tensor>& gate, std::string_view activation) {
  CheckExperts(x, ids, weights, down, up, gate);
  ActivationOf(activation);
  return {Empty(x.sym_sizes().vec(), x, x.scalar_type()), Empty({ids.sym_numel()}, x, at::kLong),
          Empty({gate ? 2 : 1, ids.sym_numel()}, x, SumType(x.scalar_type()))};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> PeerExpertsBackward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& order,
    const at::Tensor& weights, const at::Tensor& hidden, const at::Tensor& down,
    const at::Tensor& up, const std::optional<at::Tensor>& gate, std::string_view activation,
    int64_t ledger) {
  return {Empty(x.sym_sizes().vec(), x, x.scalar_type()),
          Empty(weights.sym_sizes().vec(), x, weights.scalar_type()),
          Empty({gate ? 3 : 2, order.sym_numel()}, x, SumType(x.scalar_type()))};
}

std::tuple<at::Tensor, at::Tensor> PkmValuesForward(const at::Tensor& ids,
                                                    const at::Tensor& weights,
                                                    const at::Tensor& values) {
  CheckPicks("pkm_values", ids, weights, values);
  return {Empty({ids.sym_size(0), values.sym_size(1)}, values, values.scalar_type()),
          Empty({ids.sym_numel()}, values, at::kLong)};
}

std::tuple<at::Tensor, at::Tensor> PkmValuesBackward(const at::Tensor& grad_y,
                                                     const at::Tensor& order,
                                                     const at::Tensor& weights,
                                                     const at::Tensor& values, int64_t ledger) {
  return {Empty(weights.sym_sizes().vec(), weights, weights.scalar_type()),
          Empty({1, order.sym_numel()}, values, SumType(values.scalar_type()))};
}

std::vector<at::Tensor> TableGradients(const at::Tensor& order, const at::Tensor& coefficients,
                                       const std::optional<at::Tensor>& x, const at::Tensor& grad_y,
                                       c10::SymInt num_rows) {
  std::vector<at::Tensor> out;
  for (int64_t table = 0; table < coefficients.size(0); ++table) {
    out.push_back(Empty({num_rows, grad_y.sym_size(1)}, grad_y, grad_y.scalar_type()));
  }
  return out;
}

void CountUsage(const at::Tensor& picks, const at::Tensor& score_sums, const at::Tensor& ids,
                const at::Tensor& weights) {}

void RowwiseAdam(const at::Tensor& table, const at::Tensor& first_moment,
                 const at::Tensor& second_moment, const std::optional<at::Tensor>& rows,
                 const at::Tensor& gradient, at::ArrayRef<double> hyperparameters) {}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, Meta, m) {
  m.impl("product_key_top_k_forward", ProductKeyTopKForward);
  m.impl("product_key_top_k_backward", ProductKeyTopKBackward);
  m.impl("peer_experts_forward", PeerExpertsForward);
  m.impl("peer_experts_backward", PeerExpertsBackward);
  m.impl("pkm_values_forward", PkmValuesForward);
  m.impl("pkm_values_backward", PkmValuesBackward);
  m.impl("table_gradients", TableGradients);
  m.impl("count_usage_", CountUsage);
  m.impl("rowwise_adam_", RowwiseAdam);
}

}  // namespace peerage::train
