#include "train/ops/expert_arguments.h"

#include <c10/util/Exception.h>

namespace peerage::train {
namespace {

void CheckWidth(const char* op, const char* name, const at::Tensor& table, const at::Tensor& like) {
  TORCH_CHECK(table.dim() == 2 && table.sym_size(0) == like.sym_size(0) &&
                  table.sym_size(1) == like.sym_size(1),
              op, ": ", name, " is ", table.sym_sizes(), ", but the other tables are ",
              like.sym_sizes(), "; all must be [num_experts, width]");
  TORCH_CHECK(table.scalar_type() == like.scalar_type(), op, ": ", name, " is of ",
              table.scalar_type(), ", but the other tables are of ", like.scalar_type());
}

}  // namespace

Activation ActivationOf(std::string_view name) {
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_tanh") return Activation::kGeluTanh;
  if (name == "silu") return Activation::kSilu;
  if (name == "relu") return Activation::kRelu;
  TORCH_CHECK(false, "peer_experts: activation is \"", name,
              "\"; it must be gelu, gelu_tanh, silu or relu");
}

void CheckTableGradient(const char* op, std::string_view kind, int64_t ledger) {
  TORCH_CHECK(kind == "dense" || kind == "sparse" || kind == "ledger", op, ": table_gradient is \"",
              kind, "\"; it must be dense, sparse or ledger");
  TORCH_CHECK((kind == "ledger") == (ledger != 0), op, ": table_gradient is \"", kind,
              "\", but ledger is ", ledger, "; only \"ledger\" takes one, from open_ledger()");
}

void CheckPicks(const char* op, const at::Tensor& ids, const at::Tensor& weights,
                const at::Tensor& table) {
  TORCH_CHECK(ids.dim() == 3 && ids.scalar_type() == at::kLong, op, ": ids are ", ids.scalar_type(),
              " ", ids.sym_sizes(), "; they must be int64 [tokens, heads, top_k]");
  TORCH_CHECK(weights.sym_sizes() == ids.sym_sizes(), op, ": weights are ", weights.sym_sizes(),
              ", but ids are ", ids.sym_sizes(), "; there must be a weight for each id");
  TORCH_CHECK(table.dim() == 2, op, ": a table is ", table.sym_sizes(),
              "; it must be [num_experts, width]");
  TORCH_CHECK(weights.scalar_type() == table.scalar_type() ||
                  (weights.scalar_type() == at::kFloat && table.scalar_type() == at::kBFloat16),
              op, ": weights are of ", weights.scalar_type(), ", but tables of ",
              table.scalar_type(),
              "; weights must be of the tables' type, or float32 beside bfloat16");
}

void CheckExperts(const at::Tensor& x, const at::Tensor& ids, const at::Tensor& weights,
                  const at::Tensor& down, const at::Tensor& up,
                  const std::optional<at::Tensor>& gate) {
  CheckPicks("peer_experts", ids, weights, down);
  CheckExpertTables(x, ids, down, up, gate);
}

void CheckExpertTables(const at::Tensor& x, const at::Tensor& picks, const at::Tensor& down,
                       const at::Tensor& up, const std::optional<at::Tensor>& gate) {
  constexpr const char* op = "peer_experts";
  CheckWidth(op, "up", up, down);
  if (gate) CheckWidth(op, "gate", *gate, down);
  TORCH_CHECK(x.dim() == 2 && x.sym_size(1) == down.sym_size(1), op, ": x is ", x.sym_sizes(),
              ", but tables are ", down.sym_sizes(), "; x must be [tokens, width]");
  TORCH_CHECK(x.sym_size(0) == picks.sym_size(0), op, ": x is ", x.sym_sizes(), ", but ids are ",
              picks.sym_sizes(), "; both must have the same tokens");
  TORCH_CHECK(x.scalar_type() == down.scalar_type(), op, ": x is of ", x.scalar_type(),
              ", but tables of ", down.scalar_type(), "; both must be of the same type");
}

void CheckGradient(const char* op, const at::Tensor& grad_y, const at::Tensor& picks,
                   const at::Tensor& table) {
  TORCH_CHECK(picks.dim() == 3, op, ": the weights are ", picks.sym_sizes(),
              "; they must be [tokens, heads, top_k]");
  TORCH_CHECK(grad_y.dim() == 2 && grad_y.sym_size(0) == picks.sym_size(0) &&
                  grad_y.sym_size(1) == table.sym_size(1) &&
                  grad_y.scalar_type() == table.scalar_type(),
              op, ": the gradient of y is ", grad_y.scalar_type(), " ", grad_y.sym_sizes(),
              "; it must be like y, ", table.scalar_type(), " [", picks.sym_size(0), ", ",
              table.sym_size(1), "]");
}

void CheckIds(const char* op, const at::Tensor& ids, int64_t num_rows) {
  const int64_t* id = ids.const_data_ptr<int64_t>();
  const int64_t of_a_token = ids.size(1) * ids.size(2);
  for (int64_t i = 0; i < ids.numel(); ++i) {
    TORCH_CHECK(id[i] >= 0 && id[i] < num_rows, op, ": ids of token ", i / of_a_token, " have ",
                id[i], ", but there are ", num_rows, " experts");
  }
}

}  // namespace peerage::train
