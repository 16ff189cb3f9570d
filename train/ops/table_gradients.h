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

  // use(place, gradient [width]) for all rows that were picked and, for each, all tables: the rows
  // of a range by one of torch's threads, in ascending order.
  template <typename Use>
  void ForEachInParallel(const Use& use) const {
    at::parallel_for(0, ranges_, 1, [&](int64_t begin, int64_t end) {
      Run run(*this);
      for (int64_t range = begin; range < end; ++range) ForEachOf(range, run, use);
    });
  }

 private:
  static constexpr int64_t kPicksOfARange = 1024;  // fewer are not worth another thread
  static constexpr int64_t kMostRanges = 64;

  // A part of a call's order, with what the call left.
  struct Source {
    std::span<const kernels::RowPick> order;
    std::vector<const Value*> coefficients;  // [tables], of the part
    std::vector<const T*> factors;           // [tables], of the call
    kernels::Divisor tokens_of;

    size_t FirstOf(int64_t row) const {
      return std::lower_bound(order.begin(), order.end(), row << 32) - order.begin();
    }
  };

  // The picks of one row, and where each source is; a thread's own.
  struct Run {
    explicit Run(const RowGradients& g)
        : at(g.sources_.size()),
          end(g.sources_.size()),
          rows(g.tables_),
          weights(g.tables_),
          gradient(g.width_) {}

    std::vector<size_t> at, end;              // [sources]
    std::vector<std::vector<const T*>> rows;  // [tables][picks]: of the factors
    std::vector<std::vector<Value>> weights;  // likewise
    std::vector<Value> gradient;              // [width]
    int64_t count = 0;
  };

  int64_t FirstRow(int64_t range) const { return num_rows_ * range / ranges_; }

  template <typename Use>
  void ForEachOf(int64_t range, Run& run, const Use& use) const {
    for (size_t s = 0; s < sources_.size(); ++s) {
      run.at[s] = sources_[s].FirstOf(FirstRow(range));
      run.end[s] = sources_[s].FirstOf(FirstRow(range + 1));
    }
    for (int64_t row = NextRow(run), next = 0; row >= 0; row = next) {
      Collect(row, run);
      next = NextRow(run);
      for (int64_t table = 0; table < tables_; ++table) {
        kernels::SumRows({run.rows[table].data(), run.count, width_}, run.weights[table].data(),
                         run.gradient.data());
        use(RowPlace{range, row, next, table}, run.gradient.data());
      }
    }
  }

  int64_t NextRow(const Run& run) const {
    int64_t row = kernels::kMaxRows;
    for (size_t s = 0; s < sources_.size(); ++s) {
      if (run.at[s] < run.end[s]) row = std::min(row, kernels::RowOf(sources_[s].order[run.at[s]]));
    }
    return row < kernels::kMaxRows ? row : -1;
  }

  // The row's picks of all sources, in their order.
  void Collect(int64_t row, Run& run) const;

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
    const kernels::Divisor tokens_of(static_cast<uint32_t>(picks / call.grad_y.size(0)));
    for (const kernels::OrderedPart& part : kernels::PartsOf(order)) {
      Source& source = sources_.emplace_back(
          Source{order.subspan(part.begin, part.end - part.begin), {}, {}, tokens_of});
      for (int64_t table = 0; table < tables_; ++table) {
        source.coefficients.push_back(Elements<Value>(call.coefficients) + table * picks +
                                      part.begin);
        source.factors.push_back(Elements<T>(call.factor(table)));
      }
    }
  }
  ranges_ = std::clamp<int64_t>(all_picks / kPicksOfARange, 1, kMostRanges);
}

template <typename T>
void RowGradients<T>::Collect(int64_t row, Run& run) const {
  int64_t count = 0;
  for (size_t s = 0; s < sources_.size(); ++s) {
    const Source& source = sources_[s];
    const size_t first = run.at[s];
    while (run.at[s] < run.end[s] && kernels::RowOf(source.order[run.at[s]]) == row) ++run.at[s];
    const size_t picks = run.at[s] - first;
    if (picks == 0) continue;
    for (int64_t table = 0; table < tables_; ++table) {
      if (run.rows[table].size() < count + picks) {
        run.rows[table].resize(2 * (count + picks));
        run.weights[table].resize(2 * (count + picks));
      }
      const Value* coefficients = source.coefficients[table] + first;
      for (size_t i = 0; i < picks; ++i) {
        const auto pick = static_cast<uint32_t>(kernels::PickOf(source.order[first + i]));
        run.rows[table][count + i] =
            source.factors[table] + source.tokens_of.Quotient(pick) * width_;
        run.weights[table][count + i] = coefficients[i];
      }
    }
    count += static_cast<int64_t>(picks);
  }
  run.count = count;
}

// Of the gradients of all rows of each table. Precondition: there is a call.
std::vector<double> SquareNorms(const std::vector<PickGradients>& gradients);

}  // namespace peerage::train
