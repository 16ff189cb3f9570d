#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "train/ops/elements.h"
#include "train/ops/ordered_picks.h"
#include "train/ops/table_gradients.h"

namespace peerage::train {
namespace {

// One behind the last row that was picked.
int64_t EndOfRows(const std::vector<PickGradients>& gradients) {
  int64_t last = -1;
  for (const PickGradients& call : gradients) {
    const int64_t* order = Elements<int64_t>(call.order);
    for (int64_t i = 0; i < call.order.numel(); ++i) {
      last = std::max(last, kernels::RowOf(order[i]));
    }
  }
  return last + 1;
}

std::vector<PickGradients> GradientsOf(const at::Tensor& order, const at::Tensor& coefficients,
                                       const std::optional<at::Tensor>& x, const at::Tensor& grad_y,
                                       int64_t num_rows) {
  CheckOrder("table_gradients", order, coefficients.size(1), num_rows);
  return {{OrderedByRow(order, BlocksOf(num_rows, grad_y)),
           coefficients.to(SumType(grad_y.scalar_type())).contiguous(),
           x ? x->contiguous() : at::Tensor(), grad_y.contiguous()}};
}

// Dense: row `id` of [num_rows, width]; the rows that nothing picked are zeros.
std::vector<at::Tensor> TableGradients(const at::Tensor& order, const at::Tensor& coefficients,
                                       const std::optional<at::Tensor>& x, const at::Tensor& grad_y,
                                       int64_t num_rows) {
  const auto gradients = GradientsOf(order, coefficients, x, grad_y, num_rows);
  std::vector<at::Tensor> out(coefficients.size(0));
  for (at::Tensor& table : out) {
    table = at::zeros({num_rows, grad_y.size(1)}, grad_y.options());
  }
  WithElementType("table_gradients", grad_y.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const RowGradients<T> rows(gradients, num_rows);
    rows.ForEachInParallel([&](const RowPlace& place, const kernels::Sum<T>* gradient) {
      T* row = MutableElements<T>(out[place.table]) + place.row * rows.width();
      kernels::StoreRow(gradient, rows.width(), row);
    });
  });
  return out;
}

// The rows of an order, ascending.
at::Tensor RowsOf(const at::Tensor& order) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < order.numel(); ++i) {
    rows.push_back(kernels::RowOf(Elements<int64_t>(order)[i]));
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  at::Tensor out = at::empty({static_cast<int64_t>(rows.size())}, order.options());
  std::copy(rows.begin(), rows.end(), MutableElements<int64_t>(out));
  return out;
}

// The rows that were picked, ascending [rows], and for each table their gradients [rows, width].
std::vector<at::Tensor> TableGradientRows(const at::Tensor& order, const at::Tensor& coefficients,
                                          const std::optional<at::Tensor>& x,
                                          const at::Tensor& grad_y, int64_t num_rows) {
  const auto gradients = GradientsOf(order, coefficients, x, grad_y, num_rows);
  std::vector<at::Tensor> out = {RowsOf(order)};
  const int64_t* first = Elements<int64_t>(out[0]);
  const int64_t count = out[0].numel();
  for (int64_t table = 0; table < coefficients.size(0); ++table) {
    out.push_back(at::empty({count, grad_y.size(1)}, grad_y.options()));
  }
  WithElementType("table_gradient_rows", grad_y.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const RowGradients<T> rows(gradients, num_rows);
    rows.ForEachInParallel([&](const RowPlace& place, const kernels::Sum<T>* gradient) {
      const int64_t at = std::lower_bound(first, first + count, place.row) - first;
      kernels::StoreRow(gradient, rows.width(),
                        MutableElements<T>(out[1 + place.table]) + at * rows.width());
    });
  });
  return out;
}

}  // namespace

std::vector<double> SquareNorms(const std::vector<PickGradients>& gradients) {
  std::vector<double> totals(gradients.front().tables());
  const at::ScalarType type = gradients.front().grad_y.scalar_type();
  WithElementType("ledger_square_norm", type, [&](auto element) {
    using T = decltype(element);
    const RowGradients<T> rows(gradients, EndOfRows(gradients));
    // A sum for each range, so that the order of sums does not depend on threads.
    std::vector<double> squares(rows.ranges() * rows.tables());
    rows.ForEachInParallel([&](const RowPlace& place, const kernels::Sum<T>* gradient) {
      double square = 0;
      for (int64_t c = 0; c < rows.width(); ++c) square += double{gradient[c]} * gradient[c];
      squares[place.range * rows.tables() + place.table] += square;
    });
    for (size_t i = 0; i < squares.size(); ++i) totals[i % totals.size()] += squares[i];
  });
  return totals;
}

TORCH_LIBRARY_IMPL(peerage, CPU, m) {
  m.impl("table_gradients", TableGradients);
  m.impl("table_gradient_rows", TableGradientRows);
}

}  // namespace peerage::train
