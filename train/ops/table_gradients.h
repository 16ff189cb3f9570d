// The gradients of tables' rows, one row at a time, out of the factors that backward leaves.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "train/kernels/divisor.h"
#include "train/kernels/pick_order.h"
#include "train/kernels/table_rows.h"
#include "train/ops/elements.h"
#include "train/ops/gradient_ledger.h"

namespace peerage::train {

// A row that was picked, and whose turn it is.
struct RowPlace {
  int64_t range = 0;  // of rows, [0, ranges)
  int64_t row = 0;
  int64_t next = 0;  // the row that comes next in the range; none: < 0
  int64_t table = 0;
};

// The rows that calls picked, and what their gradients are made of, in the type T of the factors
// (elements.h). Keeps `gradients` alive by reference. Precondition: all have the same tables and
// widths, and their orders were checked.
template <typename T>
class RowGradients {
 public:
  using Value = kernels::Sum<T>;

  RowGradients(const std::vector<PickGradients>& gradients, int64_t num_rows);

  int64_t tables() const { return tables_; }
  int64_t width() const { return width_; }
  // Rows are dealt with in so many ranges, whatever the number of threads.
  int64_t ranges() const { return ranges_; }

  // use(place, gradient [width]) for all rows that were picked, one table after the other, so that
  // its factor stays in a cache: the rows of a range by one of torch's threads, in ascending order.
  template <typename Use>
  void ForEachInParallel(const Use& use) const {
    at::parallel_for(0, tables_ * ranges_, 1, [&](int64_t begin, int64_t end) {
      std::vector<Value> gradient(width_);
      for (int64_t i = begin; i < end; ++i) ForEachOf(i / ranges_, i % ranges_, gradient, use);
    });
  }

 private:
  static constexpr int64_t kPicksOfARange = 1024;  // fewer are not worth another thread
  static constexpr int64_t kMostRanges = 64;

  // A part of a call's order, with what the call left.
  struct Source {
    std::span<const kernels::RowPick> order;
    const PickGradients* call;
    kernels::Divisor picks_of_a_token;

    size_t FirstOf(int64_t row) const {
      return std::lower_bound(order.begin(), order.end(), row << 32) - order.begin();
    }
  };

  // Those of a source's picks that are still to come.
  struct Rest {
    const Source* source;
    std::span<const kernels::RowPick> picks;
  };

  int64_t FirstRow(int64_t range) const { return num_rows_ * range / ranges_; }

  template <typename Use>
  void ForEachOf(int64_t table, int64_t range, std::vector<Value>& gradient, const Use& use) const {
    std::vector<Rest> rests;
    for (const Source& source : sources_) {
      const size_t first = source.FirstOf(FirstRow(range));
      rests.push_back(
          {&source, source.order.subspan(first, source.FirstOf(FirstRow(range + 1)) - first)});
    }
    for (int64_t row = NextRow(rests), next = 0; row >= 0; row = next) {
      std::fill(gradient.begin(), gradient.end(), Value{0});
      for (Rest& rest : rests) AddPicksOf(row, table, rest, gradient.data());
      next = NextRow(rests);
      use(RowPlace{range, row, next, table}, gradient.data());
    }
  }

  static int64_t NextRow(const std::vector<Rest>& rests) {
    int64_t row = kernels::kMaxRows;
    for (const Rest& rest : rests) {
      if (!rest.picks.empty()) row = std::min(row, kernels::RowOf(rest.picks.front()));
    }
    return row < kernels::kMaxRows ? row : -1;
  }

  // Takes the row's picks from a source.
  void AddPicksOf(int64_t row, int64_t table, Rest& rest, Value* gradient) const {
    size_t count = 0;
    while (count < rest.picks.size() && kernels::RowOf(rest.picks[count]) == row) ++count;
    if (count == 0) return;
    const PickGradients& call = *rest.source->call;
    kernels::SumPicks({rest.picks.first(count), rest.source->picks_of_a_token, width_},
                      Elements<T>(call.factor(table)),
                      Elements<Value>(call.coefficients) + table * call.coefficients.size(1),
                      gradient);
    rest.picks = rest.picks.subspan(count);
  }

  int64_t num_rows_, tables_, width_, ranges_ = 1;
  std::vector<Source> sources_;
};

template <typename T>
RowGradients<T>::RowGradients(const std::vector<PickGradients>& gradients, int64_t num_rows)
    : num_rows_(num_rows),
      tables_(gradients.front().tables()),
      width_(gradients.front().grad_y.size(1)) {
  int64_t all_picks = 0;
  for (const PickGradients& call : gradients) {
    const int64_t picks = call.order.numel();
    if (picks == 0) continue;
    all_picks += picks;
    const std::span order(Elements<int64_t>(call.order), static_cast<size_t>(picks));
    const kernels::Divisor picks_of_a_token(static_cast<uint32_t>(picks / call.grad_y.size(0)));
    for (const auto& [begin, end] : kernels::PartsOf({.num_rows = num_rows_}, order)) {
      sources_.push_back({order.subspan(begin, end - begin), &call, picks_of_a_token});
    }
  }
  ranges_ = std::clamp<int64_t>(all_picks / kPicksOfARange, 1, kMostRanges);
}

// Of the gradients of all rows of each table. Precondition: there is a call.
std::vector<double> SquareNorms(const std::vector<PickGradients>& gradients);

}  // namespace peerage::train
