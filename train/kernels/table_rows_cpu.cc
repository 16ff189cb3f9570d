#include <algorithm>
#include <cmath>

#include "train/kernels/table_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train/kernels/table_rows_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "train/kernels/row_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

// Rows at once: as many streams from memory, and as many sums that do not wait for each other.
constexpr int kAtOnce = 8;

// The rows of picks [first, first + N), and those of the picks that come N later.
template <typename T, int N>
struct RowGroup {
  HWY_INLINE RowGroup(const PickedRows<T>& rows, int64_t first) {
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      const int64_t later = first + N + i < rows.count ? first + N + i : first + i;
      row[i] = rows.table + rows.ids[first + i] * rows.width;
      next[i] = rows.table + rows.ids[later] * rows.width;
    }
  }
  const T* row[N];
  const T* next[N];
};

template <bool kAhead, typename T, int N>
HWY_INLINE void FetchNext(const RowGroup<T, N>& group, int64_t column) {
  if constexpr (kAhead) {
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      __builtin_prefetch(group.next[i] + column, /*rw=*/0, /*locality=*/2);
    }
  }
}

template <bool kAhead, typename T, int N>
HWY_INLINE void GroupDots(const PickedRows<T>& rows, int64_t first, const float* x, float* dots) {
  const DF d;
  const RowGroup<T, N> group(rows, first);
  VF sums[N];
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) sums[i] = hn::Zero(d);
  int64_t column = 0;
  for (; column + kLanes <= rows.width; column += kLanes) {
    FetchNext<kAhead>(group, column);
    const VF factor = hn::LoadU(d, x + column);
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      sums[i] = FusedMulAdd(d, LoadVector(group.row[i] + column), factor, sums[i]);
    }
  }
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
    float dot = hn::GetLane(hn::SumOfLanes(d, sums[i]));
    for (int64_t c = column; c < rows.width; ++c) {
      dot = std::fma(ToFloat(group.row[i][c]), x[c], dot);
    }
    dots[first + i] = dot;
  }
}

template <bool kAhead, typename T, int N>
HWY_INLINE void AddGroup(const PickedRows<T>& rows, int64_t first, const float* weights, float* y) {
  const DF d;
  const RowGroup<T, N> group(rows, first);
  VF weight[N];
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) weight[i] = hn::Set(d, weights[first + i]);
  int64_t column = 0;
  for (; column + kLanes <= rows.width; column += kLanes) {
    FetchNext<kAhead>(group, column);
    VF sum = hn::LoadU(d, y + column);
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      sum = FusedMulAdd(d, LoadVector(group.row[i] + column), weight[i], sum);
    }
    hn::StoreU(sum, d, y + column);
  }
  for (; column < rows.width; ++column) {
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      y[column] = std::fma(ToFloat(group.row[i][column]), weights[first + i], y[column]);
    }
  }
}

template <bool kAhead, typename T>
HWY_INLINE void Dots(const PickedRows<T>& rows, const float* x, float* dots) {
  int64_t i = 0;
  for (; i + kAtOnce <= rows.count; i += kAtOnce) {
    GroupDots<kAhead, T, kAtOnce>(rows, i, x, dots);
  }
  for (; i < rows.count; ++i) GroupDots<false, T, 1>(rows, i, x, dots);
}

template <bool kAhead, typename T>
HWY_INLINE void Add(const PickedRows<T>& rows, const float* weights, float* y) {
  int64_t i = 0;
  for (; i + kAtOnce <= rows.count; i += kAtOnce) {
    AddGroup<kAhead, T, kAtOnce>(rows, i, weights, y);
  }
  if (i + kAtOnce / 2 <= rows.count) {
    AddGroup<false, T, kAtOnce / 2>(rows, i, weights, y);
    i += kAtOnce / 2;
  }
  for (; i < rows.count; ++i) AddGroup<false, T, 1>(rows, i, weights, y);
}

}  // namespace

void DotsF32(const PickedRows<float>& rows, const float* x, float* dots) {
  rows.fetch_ahead ? Dots<true>(rows, x, dots) : Dots<false>(rows, x, dots);
}
void DotsBF16(const PickedRows<uint16_t>& rows, const float* x, float* dots) {
  rows.fetch_ahead ? Dots<true>(rows, x, dots) : Dots<false>(rows, x, dots);
}
void AddF32(const PickedRows<float>& rows, const float* weights, float* y) {
  rows.fetch_ahead ? Add<true>(rows, weights, y) : Add<false>(rows, weights, y);
}
void AddBF16(const PickedRows<uint16_t>& rows, const float* weights, float* y) {
  rows.fetch_ahead ? Add<true>(rows, weights, y) : Add<false>(rows, weights, y);
}
void LoadBF16(const uint16_t* row, int64_t width, float* values) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) hn::StoreU(LoadVector(row + c), DF(), values + c);
  for (; c < width; ++c) values[c] = ToFloat(row[c]);
}
void StoreBF16(const float* values, int64_t width, uint16_t* row) {
  for (int64_t c = 0; c < width; ++c) row[c] = ToBF16(values[c]);
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(DotsF32);
HWY_EXPORT(DotsBF16);
HWY_EXPORT(AddF32);
HWY_EXPORT(AddBF16);
HWY_EXPORT(LoadBF16);
HWY_EXPORT(StoreBF16);

void RowDots(const PickedRows<float>& rows, const float* x, float* dots) {
  HWY_DYNAMIC_DISPATCH(DotsF32)(rows, x, dots);
}
void RowDots(const PickedRows<uint16_t>& rows, const float* x, float* dots) {
  HWY_DYNAMIC_DISPATCH(DotsBF16)(rows, x, dots);
}
void RowDots(const PickedRows<double>& rows, const double* x, double* dots) {
  for (int64_t i = 0; i < rows.count; ++i) {
    const double* row = rows.table + rows.ids[i] * rows.width;
    dots[i] = 0;
    for (int64_t c = 0; c < rows.width; ++c) dots[i] += row[c] * x[c];
  }
}

void AddRows(const PickedRows<float>& rows, const float* weights, float* y) {
  HWY_DYNAMIC_DISPATCH(AddF32)(rows, weights, y);
}
void AddRows(const PickedRows<uint16_t>& rows, const float* weights, float* y) {
  HWY_DYNAMIC_DISPATCH(AddBF16)(rows, weights, y);
}
void AddRows(const PickedRows<double>& rows, const double* weights, double* y) {
  for (int64_t i = 0; i < rows.count; ++i) {
    const double* row = rows.table + rows.ids[i] * rows.width;
    for (int64_t c = 0; c < rows.width; ++c) y[c] += weights[i] * row[c];
  }
}

void LoadRow(const float* row, int64_t width, float* values) { std::copy_n(row, width, values); }
void LoadRow(const double* row, int64_t width, double* values) { std::copy_n(row, width, values); }
void LoadRow(const uint16_t* row, int64_t width, float* values) {
  HWY_DYNAMIC_DISPATCH(LoadBF16)(row, width, values);
}
void StoreRow(const float* values, int64_t width, float* row) { std::copy_n(values, width, row); }
void StoreRow(const double* values, int64_t width, double* row) { std::copy_n(values, width, row); }
void StoreRow(const float* values, int64_t width, uint16_t* row) {
  HWY_DYNAMIC_DISPATCH(StoreBF16)(values, width, row);
}

}  // namespace peerage::kernels
#endif
