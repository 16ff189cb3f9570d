#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "train/kernels/row_adam.h"
#include "train/ops/elements.h"
#include "train/ops/ordered_picks.h"
#include "train/ops/row_optimizer.h"
#include "train/ops/table_gradients.h"

namespace peerage::train {
namespace {

constexpr const char* kOp = "rowwise_adam";
constexpr int64_t kRowsAtOnce = 64;  // less is not worth another thread

void Check(const AdamTable& t) {
  TORCH_CHECK(t.table.dim() == 2 && t.table.is_contiguous() &&
                  (t.table.scalar_type() == at::kFloat || t.table.scalar_type() == at::kBFloat16),
              kOp, ": a table is ", t.table.scalar_type(), " ", t.table.sizes(),
              "; it must be contiguous float32 or bfloat16 [rows, width]");
  TORCH_CHECK(t.first_moment.sizes() == t.table.sizes() && t.first_moment.is_contiguous() &&
                  t.first_moment.scalar_type() == at::kFloat,
              kOp, ": the first moment is ", t.first_moment.scalar_type(), " ",
              t.first_moment.sizes(), "; it must be contiguous float32 like its table ",
              t.table.sizes());
  TORCH_CHECK(t.second_moment.dim() == 2 && t.second_moment.size(0) == t.table.size(0) &&
                  (t.second_moment.size(1) == t.table.size(1) || t.second_moment.size(1) == 1) &&
                  t.second_moment.is_contiguous() && t.second_moment.scalar_type() == at::kFloat,
              kOp, ": the second moment is ", t.second_moment.scalar_type(), " ",
              t.second_moment.sizes(), "; it must be contiguous float32 [rows, width] or [rows, 1]",
              " of a table ", t.table.sizes());
}

kernels::AdamArgs ArgsOf(const AdamHyperparameters& h) {
  return {.learning_rate = static_cast<float>(h.learning_rate),
          .beta1 = static_cast<float>(h.beta1),
          .beta2 = static_cast<float>(h.beta2),
          .epsilon = static_cast<float>(h.epsilon),
          .weight_decay = static_cast<float>(h.weight_decay),
          .correction1 = static_cast<float>(1 - std::pow(h.beta1, h.step)),
          .correction2 = static_cast<float>(1 - std::pow(h.beta2, h.step)),
          .gradient_scale = static_cast<float>(h.gradient_scale)};
}

// A table's elements, and what a step does to one row of it.
template <typename T>
struct TableRows {
  explicit TableRows(const AdamTable& t)
      : width(t.table.size(1)),
        second_width(t.second_moment.size(1)),
        table(MutableElements<T>(t.table)),
        first(MutableElements<float>(t.first_moment)),
        second(MutableElements<float>(t.second_moment)),
        args(ArgsOf(t.hyperparameters)) {
    args.one_variance = second_width == 1 && width != 1;
  }

  void Step(int64_t row, const float* gradient) const {
    kernels::AdamRow(args, {width, first + row * width, second + row * second_width}, gradient,
                     table + row * width);
  }

  // Begins to fetch what a step of the row reads: no cache holds all moments, and hardware does not
  // see that rows follow each other where those of the batch are read in between.
  void Fetch(int64_t row) const {
    const int64_t count = std::min(width, kFetched);
    for (int64_t c = 0; c < count; c += 16) __builtin_prefetch(first + row * width + c, /*rw=*/1);
    for (int64_t c = 0; c < count; c += 16) __builtin_prefetch(table + row * width + c, /*rw=*/1);
    for (int64_t c = 0; c < std::min(second_width, kFetched); c += 16) {
      __builtin_prefetch(second + row * second_width + c, /*rw=*/1);
    }
  }

  static constexpr int64_t kFetched = 256;  // elements; hardware fetches what follows them

  int64_t width, second_width;
  T* table;
  float *first, *second;
  kernels::AdamArgs args;
};

}  // namespace

void RowwiseAdam(const AdamTable& table, const std::optional<at::Tensor>& rows,
                 const at::Tensor& gradient) {
  Check(table);
  const int64_t count = rows ? rows->numel() : table.table.size(0);
  TORCH_CHECK(
      gradient.dim() == 2 && gradient.size(0) == count && gradient.size(1) == table.table.size(1),
      kOp, ": the gradient is ", gradient.sizes(), "; it must have ", count, " rows of ",
      table.table.size(1));
  const at::Tensor gradients = gradient.to(at::kFloat).contiguous();
  const at::Tensor ids = rows ? rows->contiguous() : at::Tensor();
  const int64_t* row = rows ? ids.const_data_ptr<int64_t>() : nullptr;
  for (int64_t i = 0; i < (rows ? count : 0); ++i) {
    TORCH_CHECK(row[i] >= 0 && row[i] < table.table.size(0), kOp, ": row ", row[i],
                " is not in a table of ", table.table.size(0));
    TORCH_CHECK(i == 0 || row[i] > row[i - 1], kOp,
                ": rows must ascend without repeats; coalesce() the gradient first");
  }
  WithElementType(kOp, table.table.scalar_type(), [&](auto element) {
    using T = decltype(element);
    if constexpr (!std::is_same_v<T, double>) {
      const TableRows<T> target(table);
      const float* values = Elements<float>(gradients);
      at::parallel_for(0, count, kRowsAtOnce, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          target.Step(row ? row[i] : i, values + i * target.width);
        }
      });
    }
  });
}

void RowwiseAdamFromLedger(const std::vector<AdamTable>& tables, int64_t ledger) {
  const std::vector<PickGradients> gradients = ReadLedger(ledger);
  if (gradients.empty()) return;
  const at::Tensor& like = gradients.front().grad_y;
  TORCH_CHECK(static_cast<int64_t>(tables.size()) == gradients.front().tables(), kOp, ": ",
              tables.size(), " tables are given, but the ledger has gradients of ",
              gradients.front().tables(), " (up, down, gate)");
  int64_t num_rows = 0;
  for (const AdamTable& table : tables) {
    if (!table.table.defined()) continue;
    Check(table);
    if (num_rows == 0) num_rows = table.table.size(0);
    TORCH_CHECK(table.table.size(0) == num_rows &&
                    table.table.scalar_type() == like.scalar_type() &&
                    table.table.size(1) == like.size(1),
                kOp, ": a table is ", table.table.scalar_type(), " ", table.table.sizes(),
                ", but the ledger's gradients are of rows of ", like.scalar_type(), " [",
                like.size(1), "]");
  }
  if (num_rows == 0) return;  // nothing changes
  for (const PickGradients& call : gradients) {
    TORCH_CHECK(call.tables() == gradients.front().tables() &&
                    call.grad_y.scalar_type() == like.scalar_type() &&
                    call.grad_y.size(1) == like.size(1),
                kOp,
                ": the ledger has gradients of tables of several types or widths; every layer "
                "must have a ledger of its own");
    CheckOrder(kOp, call.order, call.coefficients.size(1), num_rows);
  }
  WithElementType(kOp, like.scalar_type(), [&](auto element) {
    using T = decltype(element);
    if constexpr (!std::is_same_v<T, double>) {
      std::vector<std::optional<TableRows<T>>> targets(tables.size());
      for (size_t i = 0; i < tables.size(); ++i) {
        if (tables[i].table.defined()) targets[i].emplace(tables[i]);
      }
      const RowGradients<T> rows(gradients, num_rows);
      rows.ForEachInParallel([&](const RowPlace& place, const float* gradient) {
        const auto& target = targets[place.table];
        if (target && place.next >= 0) target->Fetch(place.next);
        if (target) target->Step(place.row, gradient);
      });
    }
  });
}

namespace {

// In the order of AdamHyperparameters.
AdamHyperparameters HyperparametersOf(at::ArrayRef<double> values) {
  TORCH_CHECK(values.size() == 7, kOp, ": there are ", values.size(),
              " hyperparameters; there must be 7: learning_rate, beta1, beta2, epsilon, "
              "weight_decay, step, gradient_scale");
  return {values[0], values[1], values[2], values[3], values[4], values[5], values[6]};
}

void RowwiseAdamOperator(const at::Tensor& table, const at::Tensor& first_moment,
                         const at::Tensor& second_moment, const std::optional<at::Tensor>& rows,
                         const at::Tensor& gradient, at::ArrayRef<double> hyperparameters) {
  RowwiseAdam({table, first_moment, second_moment, HyperparametersOf(hyperparameters)}, rows,
              gradient);
}

void RowwiseAdamLedgerOperator(at::TensorList tables, at::TensorList first_moments,
                               at::TensorList second_moments, int64_t ledger,
                               at::ArrayRef<double> hyperparameters) {
  TORCH_CHECK(tables.size() == first_moments.size() && tables.size() == second_moments.size(), kOp,
              ": there are ", tables.size(), " tables, but ", first_moments.size(), " first and ",
              second_moments.size(), " second moments");
  std::vector<AdamTable> all;
  for (size_t i = 0; i < tables.size(); ++i) {
    all.push_back(
        {tables[i], first_moments[i], second_moments[i], HyperparametersOf(hyperparameters)});
  }
  RowwiseAdamFromLedger(all, ledger);
}

}  // namespace

TORCH_LIBRARY_IMPL(peerage, CPU, m) {
  m.impl("rowwise_adam_", RowwiseAdamOperator);
  m.impl("rowwise_adam_ledger_", RowwiseAdamLedgerOperator);
}

}  // namespace peerage::train
