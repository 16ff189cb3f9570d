// The best of a row, and the best sums of two lists, as training wants them: any size, f32 or f64,
// the sums themselves. Where the kernels of serving (model/kernels/product_keys.h) can do it they
// do; the order is theirs everywhere: higher value, then lower id, NaN last.
#pragma once

#include <cstdint>

namespace peerage::kernels {

// Best first.
template <typename V>
struct ScoredList {
  V* values = nullptr;
  int32_t* ids = nullptr;
};

template <typename V>
struct ScoreRow {
  const V* scores = nullptr;  // [n]
  int64_t n = 0;              // below 2^31
  int64_t k = 0;              // 1..n
};
void BestOf(const ScoreRow<float>& row, const ScoredList<float>& best);
void BestOf(const ScoreRow<double>& row, const ScoredList<double>& best);

// Row r of `values` and `ids` is the two halves' lists, [2][listed]. The k best values[0][i] +
// values[1][j], whose id is ids[0][i] * n + ids[1][j].
struct SumsShape {
  int64_t n = 0;
  int64_t listed = 0;
  int64_t k = 0;  // 1..listed^2
  int64_t rows = 0;
};
template <typename V>
struct BestSumsOut {
  V* sums = nullptr;       // [rows][k], best first
  int64_t* ids = nullptr;  // likewise
};
void BestSums(const SumsShape& shape, const float* values, const int32_t* ids,
              const BestSumsOut<float>& out);
void BestSums(const SumsShape& shape, const double* values, const int32_t* ids,
              const BestSumsOut<double>& out);

}  // namespace peerage::kernels
