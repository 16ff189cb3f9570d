#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "train/ops/elements.h"
#include "train/ops/expert_arguments.h"
#include "train/ops/table_gradients.h"

namespace peerage::train {
namespace {

PickGradients GradientsOf(const at::Tensor& ids, const at::Tensor& coefficients,
                          const std::optional<at::Tensor>& x, const at::Tensor& grad_y,
                          int64_t num_rows) {
  CheckIds("table_gradients", ids.contiguous(), num_rows);
  return {ids.contiguous(), coefficients.to(SumType(grad_y.scalar_type())).contiguous(),
          x ? x->contiguous() : at::Tensor(), grad_y.contiguous()};
}

// Dense: row `id` of [num_rows, width]; the rows that nothing picked are zeros.
std::vector<at::Tensor> TableGradients(const at::Tensor& ids, const at::Tensor& coefficients,
                                       const std::optional<at::Tensor>& x, const at::Tensor& grad_y,
                                       int64_t num_rows) {
  const PickGradients gradients = GradientsOf(ids, coefficients, x, grad_y, num_rows);
  std::vector<at::Tensor> out(coefficients.size(0));
  for (at::Tensor& table : out) {
    table = at::zeros({num_rows, grad_y.size(1)}, grad_y.options());
  }
  WithElementType("table_gradients", grad_y.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const RowGradients<T> rows(gradients, num_rows);
    rows.ForEachInParallel([&](int64_t run, int64_t table, const kernels::Sum<T>* gradient) {
      T* row = MutableElements<T>(out[table]) + rows.runs().rows[run] * rows.width();
      kernels::StoreRow(gradient, rows.width(), row);
    });
  });
  return out;
}

// The rows that were picked, ascending [rows], and for each table their gradients [rows, width].
std::vector<at::Tensor> TableGradientRows(const at::Tensor& ids, const at::Tensor& coefficients,
                                          const std::optional<at::Tensor>& x,
                                          const at::Tensor& grad_y, int64_t num_rows) {
  const PickGradients gradients = GradientsOf(ids, coefficients, x, grad_y, num_rows);
  std::vector<at::Tensor> out;
  WithElementType("table_gradient_rows", grad_y.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const RowGradients<T> rows(gradients, num_rows);
    out.push_back(at::empty({rows.runs().size()}, ids.options()));
    std::copy(rows.runs().rows.begin(), rows.runs().rows.end(), MutableElements<int64_t>(out[0]));
    for (int64_t table = 0; table < rows.tables(); ++table) {
      out.push_back(at::empty({rows.runs().size(), rows.width()}, grad_y.options()));
    }
    rows.ForEachInParallel([&](int64_t run, int64_t table, const kernels::Sum<T>* gradient) {
      kernels::StoreRow(gradient, rows.width(),
                        MutableElements<T>(out[1 + table]) + run * rows.width());
    });
  });
  return out;
}

}  // namespace

std::vector<double> SquareNorms(const PickGradients& gradients) {
  const int64_t num_rows = gradients.ids.numel() == 0 ? 0 : gradients.ids.max().item<int64_t>() + 1;
  std::vector<double> totals(gradients.coefficients.size(0));
  WithElementType("ledger_square_norm", gradients.grad_y.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const RowGradients<T> rows(gradients, num_rows);
    // A sum for each row, so that the order of the last sum does not depend on threads.
    const int64_t tables = rows.tables();
    std::vector<double> squares(rows.runs().size() * tables);
    rows.ForEachInParallel([&](int64_t run, int64_t table, const kernels::Sum<T>* gradient) {
      double& square = squares[run * tables + table];
      for (int64_t c = 0; c < rows.width(); ++c) square += double{gradient[c]} * gradient[c];
    });
    for (size_t i = 0; i < squares.size(); ++i) totals[i % tables] += squares[i];
  });
  return totals;
}

TORCH_LIBRARY_IMPL(peerage, CPU, m) {
  m.impl("table_gradients", TableGradients);
  m.impl("table_gradient_rows", TableGradientRows);
}

}  // namespace peerage::train
