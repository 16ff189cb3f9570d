// The gradients of tables' rows, one row at a time, out of the factors that backward leaves.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "train/kernels/pick_runs.h"
#include "train/kernels/table_rows.h"
#include "train/ops/elements.h"
#include "train/ops/gradient_ledger.h"

namespace peerage::train {

// The rows that a batch picked, and what their gradients are made of, in the type T of the factors
// (elements.h). Keeps `gradients` alive by reference.
template <typename T>
class RowGradients {
 public:
  using Value = kernels::Sum<T>;

  RowGradients(const PickGradients& gradients, int64_t num_rows);

  const kernels::PickRuns& runs() const { return runs_; }
  int64_t tables() const { return tables_; }
  int64_t width() const { return width_; }

  // One thread's place to compute in: use(run, table, gradient [width]) for the runs [begin, end)
  // and, within each, all tables.
  template <typename Use>
  void ForEach(int64_t begin, int64_t end, const Use& use) const {
    std::vector<Value> gradient(width_);
    std::vector<int64_t> tokens;
    std::vector<Value> weights;
    for (int64_t run = begin; run < end; ++run) {
      const auto picks = runs_.picks(run);
      tokens.resize(picks.size());
      weights.resize(picks.size());
      for (size_t i = 0; i < picks.size(); ++i) tokens[i] = picks[i] / picks_of_a_token_;
      for (int64_t table = 0; table < tables_; ++table) {
        const Value* coefficients = coefficients_ + table * num_picks_;
        for (size_t i = 0; i < picks.size(); ++i) weights[i] = coefficients[picks[i]];
        std::fill(gradient.begin(), gradient.end(), Value{0});
        kernels::AddRows(
            {factors_[table], width_, tokens.data(), static_cast<int64_t>(tokens.size())},
            weights.data(), gradient.data());
        use(run, table, gradient.data());
      }
    }
  }

  // The same for all runs, each by one of torch's threads.
  template <typename Use>
  void ForEachInParallel(const Use& use) const {
    at::parallel_for(0, runs_.size(), kRunsAtOnce,
                     [&](int64_t begin, int64_t end) { ForEach(begin, end, use); });
  }

 private:
  static constexpr int64_t kRunsAtOnce = 64;  // less is not worth another thread

  int64_t tables_, num_picks_, picks_of_a_token_, width_;
  std::vector<const T*> factors_;  // [tables]: [tokens][width]
  const Value* coefficients_;      // [tables][picks]
  kernels::PickRuns runs_;
};

template <typename T>
RowGradients<T>::RowGradients(const PickGradients& gradients, int64_t num_rows)
    : tables_(gradients.coefficients.size(0)),
      num_picks_(gradients.ids.numel()),
      picks_of_a_token_(gradients.ids.size(1) * gradients.ids.size(2)),
      width_(gradients.grad_y.size(1)),
      coefficients_(gradients.coefficients.const_data_ptr<Value>()),
      runs_(kernels::SortPicks(
          {gradients.ids.const_data_ptr<int64_t>(), static_cast<size_t>(num_picks_)}, num_rows)) {
  for (int64_t table = 0; table < tables_; ++table) {
    factors_.push_back(Elements<T>(gradients.factor(table)));
  }
}

// Of the gradients of all rows of each table.
std::vector<double> SquareNorms(const PickGradients& gradients);

}  // namespace peerage::train
