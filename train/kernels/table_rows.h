// Rows of a table, gathered by id: forward and backward of one-neuron experts are made of these two
// functions (He 2024, equation 1), and so is the gradient of a row, whose "table" is then the
// batch.
//
// Sums are in f32 (f64 for tables in f64) and run in one fixed order, so that results do not depend
// on who computes beside this thread.
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
struct PickedRows {
  const T* table = nullptr;  // [rows][width]
  int64_t width = 0;
  const int64_t* ids = nullptr;  // [count], each a row of the table
  int64_t count = 0;
  bool fetch_ahead = false;  // the table lies in memory rather than in a cache
};

// dots[i] = table[ids[i]] . x
void RowDots(const PickedRows<float>& rows, const float* x, float* dots);
void RowDots(const PickedRows<uint16_t>& rows, const float* x, float* dots);
void RowDots(const PickedRows<double>& rows, const double* x, double* dots);

// y += sum over i, in order, of weights[i] * table[ids[i]]
void AddRows(const PickedRows<float>& rows, const float* weights, float* y);
void AddRows(const PickedRows<uint16_t>& rows, const float* weights, float* y);
void AddRows(const PickedRows<double>& rows, const double* weights, double* y);

// One row as the type of its sums, and back; bf16 rounds to nearest even.
void LoadRow(const float* row, int64_t width, float* values);
void LoadRow(const uint16_t* row, int64_t width, float* values);
void LoadRow(const double* row, int64_t width, double* values);
void StoreRow(const float* values, int64_t width, float* row);
void StoreRow(const float* values, int64_t width, uint16_t* row);
void StoreRow(const double* values, int64_t width, double* row);

}  // namespace peerage::kernels
