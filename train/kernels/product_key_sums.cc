#include "train/kernels/product_key_sums.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "model/kernels/product_keys.h"
#include "train/kernels/divisor.h"

namespace peerage::kernels {
namespace {

template <typename V>
struct Candidate {
  V value;
  int64_t id;
};

template <typename V>
bool IsBefore(const Candidate<V>& a, const Candidate<V>& b) {
  const bool a_is_nan = std::isnan(a.value), b_is_nan = std::isnan(b.value);
  if (a_is_nan != b_is_nan) return b_is_nan;
  if (!a_is_nan && a.value != b.value) return a.value > b.value;
  return a.id < b.id;
}

template <typename V>
void BestOfAny(const ScoreRow<V>& row, const ScoredList<V>& best) {
  std::vector<Candidate<V>> all(row.n);
  for (int64_t i = 0; i < row.n; ++i) all[i] = {row.scores[i], i};
  std::partial_sort(all.begin(), all.begin() + row.k, all.end(), IsBefore<V>);
  for (int64_t i = 0; i < row.k; ++i) {
    best.values[i] = all[i].value;
    best.ids[i] = static_cast<int32_t>(all[i].id);
  }
}

template <typename V>
void BestSumsOfAny(const SumsShape& shape, const V* values, const int32_t* ids,
                   const BestSumsOut<V>& out) {
  std::vector<Candidate<V>> all(shape.listed * shape.listed);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const V* first = values + row * 2 * shape.listed;
    const int32_t* id = ids + row * 2 * shape.listed;
    for (int64_t i = 0; i < shape.listed; ++i) {
      for (int64_t j = 0; j < shape.listed; ++j) {
        all[i * shape.listed + j] = {first[i] + first[shape.listed + j],
                                     id[i] * shape.n + id[shape.listed + j]};
      }
    }
    std::partial_sort(all.begin(), all.begin() + shape.k, all.end(), IsBefore<V>);
    for (int64_t i = 0; i < shape.k; ++i) {
      out.sums[row * shape.k + i] = all[i].value;
      out.ids[row * shape.k + i] = all[i].id;
    }
  }
}

// What CombineHalves and TopK take.
bool ServingKernelsCan(int64_t n, int64_t k) { return n <= 65536 && k <= kMaxTopK; }

}  // namespace

void BestOf(const ScoreRow<float>& row, const ScoredList<float>& best) {
  if (!ServingKernelsCan(row.n, row.k)) return BestOfAny(row, best);
  TopK({row.scores, 0, 1, static_cast<int>(row.n), static_cast<int>(row.k), best.values, best.ids});
}
void BestOf(const ScoreRow<double>& row, const ScoredList<double>& best) { BestOfAny(row, best); }

void BestSums(const SumsShape& shape, const float* values, const int32_t* ids,
              const BestSumsOut<float>& out) {
  if (!ServingKernelsCan(shape.n, shape.k)) return BestSumsOfAny(shape, values, ids, out);
  std::vector<uint32_t> expert_ids(shape.rows * shape.k);
  std::vector<float> weights(shape.rows * shape.k);
  CombineHalves({.rows = static_cast<int>(shape.rows),
                 .n = static_cast<int>(shape.n),
                 .listed = static_cast<int>(shape.listed),
                 .k = static_cast<int>(shape.k),
                 .values = values,
                 .ids = ids,
                 .stride = static_cast<size_t>(2 * shape.listed),
                 .half_stride = static_cast<size_t>(shape.listed),
                 .score = RouterScore::kRelu,
                 .expert_ids = expert_ids.data(),
                 .weights = weights.data(),
                 .out_stride = static_cast<size_t>(shape.k)});
  // It returns weights, and negative sums are none: the sums are those of the lists' values.
  const Divisor n(static_cast<uint32_t>(shape.n));
  std::vector<float> value_of[2] = {std::vector<float>(shape.n), std::vector<float>(shape.n)};
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int half = 0; half < 2; ++half) {
      const int64_t first = (row * 2 + half) * shape.listed;
      for (int64_t i = 0; i < shape.listed; ++i) value_of[half][ids[first + i]] = values[first + i];
    }
    for (int64_t i = row * shape.k; i < (row + 1) * shape.k; ++i) {
      const uint32_t id = expert_ids[i];
      out.ids[i] = id;
      out.sums[i] = value_of[0][n.Quotient(id)] + value_of[1][n.Remainder(id)];
    }
  }
}
void BestSums(const SumsShape& shape, const double* values, const int32_t* ids,
              const BestSumsOut<double>& out) {
  BestSumsOfAny(shape, values, ids, out);
}

}  // namespace peerage::kernels
