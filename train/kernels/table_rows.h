// Rows of tables by their addresses: forward and backward of one-neuron experts are made of these
// three functions (He 2024, equation 1), and so is the gradient of a row.
//
// Sums are in f32 (f64 for tables in f64) and run in one fixed order, so that results depend
// neither on who computes beside this thread nor on how many rows are given at once.
#pragma once

#include <cstdint>

namespace peerage::kernels {

// What sums of a table's elements are held in.
template <typename T>
struct SumOf {
  using type = float;
};
template <>
struct SumOf<double> {
  using type = double;
};
template <typename T>
using Sum = typename SumOf<T>::type;

// T: float, double, or uint16_t for bf16.
template <typename T>
struct RowList {
  const T* const* rows = nullptr;  // [count], and those that come next up to [known]
  int64_t count = 0;
  int64_t width = 0;
  int64_t known = 0;         // >= count where fetch_ahead
  bool fetch_ahead = false;  // the rows lie in memory rather than in a cache
};

// dots[i] = rows[i] . others[i]
void RowDots(const RowList<float>& list, const float* const* others, float* dots);
void RowDots(const RowList<uint16_t>& list, const float* const* others, float* dots);
void RowDots(const RowList<double>& list, const double* const* others, double* dots);

// sums[i] += weights[i] * rows[i], one after the other: sums may be the same ones.
void AddToRows(const RowList<float>& list, const float* weights, float* const* sums);
void AddToRows(const RowList<uint16_t>& list, const float* weights, float* const* sums);
void AddToRows(const RowList<double>& list, const double* weights, double* const* sums);

// sum = sum over i, in order, of weights[i] * rows[i]
void SumRows(const RowList<float>& list, const float* weights, float* sum);
void SumRows(const RowList<uint16_t>& list, const float* weights, float* sum);
void SumRows(const RowList<double>& list, const double* weights, double* sum);

// One row as the type of its sums, and back; bf16 rounds to nearest even.
void LoadRow(const float* row, int64_t width, float* values);
void LoadRow(const uint16_t* row, int64_t width, float* values);
void LoadRow(const double* row, int64_t width, double* values);
void StoreRow(const float* values, int64_t width, float* row);
void StoreRow(const float* values, int64_t width, uint16_t* row);
void StoreRow(const double* values, int64_t width, double* row);

}  // namespace peerage::kernels
