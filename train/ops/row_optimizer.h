// Adam on tables of which a step uses few rows: it reads and writes these rows alone.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace peerage::train {

// As torch.optim.Adam has them; decay is decoupled and, like all else, of the rows used.
struct AdamHyperparameters {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double step = 1;            // from 1
  double gradient_scale = 1;  // of the gradient, before all else
};

// A table [rows, width] of f32 or bf16 with its moments in f32: the first [rows, width], the second
// likewise or [rows, 1], which then is that of the row's mean square.
struct AdamTable {
  at::Tensor table;
  at::Tensor first_moment;
  at::Tensor second_moment;
  AdamHyperparameters hyperparameters;
};

// With the gradients [rows.size, width] of some rows, or of all without `rows`. Repeated rows are
// an error that a coalesced gradient cannot make.
void RowwiseAdam(const AdamTable& table, const std::optional<at::Tensor>& rows,
                 const at::Tensor& gradient);

// With a ledger's gradients (tables in its order: up, down, gate), one row at a time; a table that
// is not to change is undefined. The ledger keeps its gradients: clear it when all is done.
void RowwiseAdamFromLedger(const std::vector<AdamTable>& tables, int64_t ledger);

}  // namespace peerage::train
