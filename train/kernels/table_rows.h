// Rows of tables that the tokens of a batch picked: forward and backward of one-neuron experts are
// made of these three functions (He 2024, equation 1).
//
// Sums are in f32 (f64 for tables in f64) and run in the order of the picks, so that results depend
// neither on who computes beside this thread nor on how many picks are given at once.
#pragma once

#include <cstdint>
#include <span>

#include "train/kernels/divisor.h"
#include "train/kernels/pick_order.h"

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

// Picks of a batch, each the row of a table and, divided by the picks of a token, a token.
struct BatchPicks {
  std::span<const RowPick> picks;
  Divisor picks_of_a_token;
  int64_t width = 0;

  int64_t TokenOf(RowPick pick) const {
    return picks_of_a_token.Quotient(static_cast<uint32_t>(PickOf(pick)));
  }
  // One behind the picks that follow `begin` and are of its token.
  int64_t EndOfToken(int64_t begin) const {
    const int64_t first = TokenOf(picks[begin]) * picks_of_a_token.divisor();
    int64_t end = begin + 1;
    while (end < static_cast<int64_t>(picks.size()) &&
           static_cast<uint64_t>(PickOf(picks[end]) - first) < picks_of_a_token.divisor()) {
      ++end;
    }
    return end;
  }
};

// A table [rows][width] of float, double, or uint16_t for bf16, and the batch's own rows [tokens]
// [width], of which `rows` begins with that of first_token.
template <typename T>
struct PickedTable {
  const T* table = nullptr;
  BatchPicks batch;
  int64_t first_token = 0;
  bool far = false;  // the table is larger than a core's cache
};

// dots[pick] = row . batch's row
void PickDots(const PickedTable<float>& picked, const float* rows, float* dots);
void PickDots(const PickedTable<uint16_t>& picked, const float* rows, float* dots);
void PickDots(const PickedTable<double>& picked, const double* rows, double* dots);

// batch's row += weights[pick] * row
void AddPicks(const PickedTable<float>& picked, const float* weights, float* rows);
void AddPicks(const PickedTable<uint16_t>& picked, const float* weights, float* rows);
void AddPicks(const PickedTable<double>& picked, const double* weights, double* rows);

// sum [width] += weights[pick] * batch's row, for picks of one row of a table: its gradient.
void SumPicks(const BatchPicks& picks, const float* batch, const float* weights, float* sum);
void SumPicks(const BatchPicks& picks, const uint16_t* batch, const float* weights, float* sum);
void SumPicks(const BatchPicks& picks, const double* batch, const double* weights, double* sum);

// One row as the type of its sums, and back; bf16 rounds to nearest even.
void LoadRow(const float* row, int64_t width, float* values);
void LoadRow(const uint16_t* row, int64_t width, float* values);
void LoadRow(const double* row, int64_t width, double* values);
void StoreRow(const float* values, int64_t width, float* row);
void StoreRow(const float* values, int64_t width, uint16_t* row);
void StoreRow(const double* values, int64_t width, double* row);

}  // namespace peerage::kernels
