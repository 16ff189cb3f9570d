#include <algorithm>

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

// Fetches a column of the rows that come kAtOnce behind `first`.
template <bool kAhead, int N, typename T>
HWY_INLINE void FetchColumn(const RowList<T>& list, int64_t first, int64_t column) {
  if constexpr (kAhead) {
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      const int64_t row = std::min(first + kAtOnce + i, list.known - 1);
      __builtin_prefetch(list.rows[row] + column, /*rw=*/0, /*locality=*/2);
    }
  }
}

// sums[i]: of the lanes of v[i], four of them.
#if HWY_TARGET <= HWY_AVX2
template <class D>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> SumBlocks(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return SumBlocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    return v;
  }
}
HWY_INLINE void SumLanes(const VF* v, float* sums) {
  const DF d;
  const hn::Repartition<double, DF> pairs;
  const auto ab = hn::Add(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1]));
  const auto cd = hn::Add(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3]));
  const auto a = hn::BitCast(pairs, ab), c = hn::BitCast(pairs, cd);
  const VF abcd = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, a, c)),
                          hn::BitCast(d, hn::InterleaveUpper(pairs, a, c)));
  hn::StoreU(SumBlocks(d, abcd), hn::FixedTag<float, 4>(), sums);
}
#else
HWY_INLINE void SumLanes(const VF* v, float* sums) {
  for (int i = 0; i < 4; ++i) sums[i] = hn::GetLane(hn::SumOfLanes(DF(), v[i]));
}
#endif

template <bool kAhead, int N, typename T>
HWY_INLINE void GroupDots(const RowList<T>& list, int64_t first, const float* const* others,
                          float* dots) {
  const T* row[N];
  const float* other[N];
  VF sums[N];
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
    row[i] = list.rows[first + i];
    other[i] = others[first + i];
    sums[i] = hn::Zero(DF());
  }
  ForEachVector(list.width, [&](int64_t c, auto vector) HWY_ATTR {
    FetchColumn<kAhead, N>(list, first, c);
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      sums[i] = FusedMulAdd(DF(), vector.Load(row[i] + c), vector.Load(other[i] + c), sums[i]);
    }
  });
  PEERAGE_UNROLL for (int i = 0; i < N; i += 4) { SumLanes(sums + i, dots + first + i); }
}

template <bool kAhead, typename T>
HWY_INLINE void Dots(const RowList<T>& list, const float* const* others, float* dots) {
  int64_t i = 0;
  for (; i + kAtOnce <= list.count; i += kAtOnce) {
    GroupDots<kAhead, kAtOnce>(list, i, others, dots);
  }
  for (; i < list.count; i += 4) {
    // The last ones, filled up with the very last.
    const T* rows[4];
    const float* last[4];
    float sums[4];
    for (int64_t j = 0; j < 4; ++j) {
      rows[j] = list.rows[std::min(i + j, list.count - 1)];
      last[j] = others[std::min(i + j, list.count - 1)];
    }
    GroupDots<false, 4>(RowList<T>{rows, 4, list.width}, 0, last, sums);
    std::copy_n(sums, std::min<int64_t>(4, list.count - i), dots + i);
  }
}

template <bool kAhead, typename T>
HWY_INLINE void Add(const RowList<T>& list, const float* weights, float* const* sums) {
  for (int64_t i = 0; i < list.count; ++i) {
    const T* row = list.rows[i];
    float* sum = sums[i];
    const float* later = sums[std::min(i + 4, list.count - 1)];
    const VF weight = hn::Set(DF(), weights[i]);
    ForEachVector(list.width, [&](int64_t c, auto vector) HWY_ATTR {
      FetchColumn<kAhead, 1>(list, i, c);
      __builtin_prefetch(later + c, /*rw=*/1, /*locality=*/3);
      vector.Store(FusedMulAdd(DF(), vector.Load(row + c), weight, vector.Load(sum + c)), sum + c);
    });
  }
}

// Columns of a sum in registers, from `first` on.
template <int kVectors, typename T>
HWY_INLINE void SumColumns(const RowList<T>& list, const float* weights, int64_t first,
                           float* sum) {
  VF sums[kVectors];
  PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) sums[v] = hn::Zero(DF());
  for (int64_t i = 0; i < list.count; ++i) {
    const T* row = list.rows[i] + first;
    const VF weight = hn::Set(DF(), weights[i]);
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      sums[v] = FusedMulAdd(DF(), LoadVector(row + v * kLanes), weight, sums[v]);
    }
  }
  PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) StoreVector(sums[v], sum + first + v * kLanes);
}

template <typename T>
HWY_INLINE void SumList(const RowList<T>& list, const float* weights, float* sum) {
  constexpr int kVectors = 8;
  int64_t c = 0;
  for (; c + kVectors * kLanes <= list.width; c += kVectors * kLanes) {
    SumColumns<kVectors>(list, weights, c, sum);
  }
  for (; c + kLanes <= list.width; c += kLanes) SumColumns<1>(list, weights, c, sum);
  if (c == list.width) return;
  const LastVector last{list.width - c};
  VF columns = hn::Zero(DF());
  for (int64_t i = 0; i < list.count; ++i) {
    columns = FusedMulAdd(DF(), last.Load(list.rows[i] + c), hn::Set(DF(), weights[i]), columns);
  }
  last.Store(columns, sum + c);
}

}  // namespace

void DotsF32(const RowList<float>& list, const float* const* others, float* dots) {
  list.fetch_ahead ? Dots<true>(list, others, dots) : Dots<false>(list, others, dots);
}
void DotsBF16(const RowList<uint16_t>& list, const float* const* others, float* dots) {
  list.fetch_ahead ? Dots<true>(list, others, dots) : Dots<false>(list, others, dots);
}
void AddF32(const RowList<float>& list, const float* weights, float* const* sums) {
  list.fetch_ahead ? Add<true>(list, weights, sums) : Add<false>(list, weights, sums);
}
void AddBF16(const RowList<uint16_t>& list, const float* weights, float* const* sums) {
  list.fetch_ahead ? Add<true>(list, weights, sums) : Add<false>(list, weights, sums);
}
void SumF32(const RowList<float>& list, const float* weights, float* sum) {
  SumList(list, weights, sum);
}
void SumBF16(const RowList<uint16_t>& list, const float* weights, float* sum) {
  SumList(list, weights, sum);
}
void LoadBF16(const uint16_t* row, int64_t width, float* values) {
  ForEachVector(width, [&](int64_t c, auto vector)
                           HWY_ATTR { vector.Store(vector.Load(row + c), values + c); });
}
void StoreBF16(const float* values, int64_t width, uint16_t* row) {
  ForEachVector(width, [&](int64_t c, auto vector)
                           HWY_ATTR { vector.Store(vector.Load(values + c), row + c); });
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
HWY_EXPORT(SumF32);
HWY_EXPORT(SumBF16);
HWY_EXPORT(LoadBF16);
HWY_EXPORT(StoreBF16);

void RowDots(const RowList<float>& list, const float* const* others, float* dots) {
  HWY_DYNAMIC_DISPATCH(DotsF32)(list, others, dots);
}
void RowDots(const RowList<uint16_t>& list, const float* const* others, float* dots) {
  HWY_DYNAMIC_DISPATCH(DotsBF16)(list, others, dots);
}
void RowDots(const RowList<double>& list, const double* const* others, double* dots) {
  for (int64_t i = 0; i < list.count; ++i) {
    dots[i] = 0;
    for (int64_t c = 0; c < list.width; ++c) dots[i] += list.rows[i][c] * others[i][c];
  }
}

void AddToRows(const RowList<float>& list, const float* weights, float* const* sums) {
  HWY_DYNAMIC_DISPATCH(AddF32)(list, weights, sums);
}
void AddToRows(const RowList<uint16_t>& list, const float* weights, float* const* sums) {
  HWY_DYNAMIC_DISPATCH(AddBF16)(list, weights, sums);
}
void AddToRows(const RowList<double>& list, const double* weights, double* const* sums) {
  for (int64_t i = 0; i < list.count; ++i) {
    for (int64_t c = 0; c < list.width; ++c) sums[i][c] += weights[i] * list.rows[i][c];
  }
}

void SumRows(const RowList<float>& list, const float* weights, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumF32)(list, weights, sum);
}
void SumRows(const RowList<uint16_t>& list, const float* weights, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumBF16)(list, weights, sum);
}
void SumRows(const RowList<double>& list, const double* weights, double* sum) {
  std::fill_n(sum, list.width, 0.0);
  for (int64_t i = 0; i < list.count; ++i) {
    for (int64_t c = 0; c < list.width; ++c) sum[c] += weights[i] * list.rows[i][c];
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
