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

// Picks at once: as many sums that do not wait for each other.
constexpr int kAtOnce = 8;
constexpr int64_t kFetchedAhead = 16;  // picks

// The row of a pick that comes kFetchedAhead behind, where rows do not lie in a core's cache.
template <bool kFar, typename T>
struct LaterRow {
  HWY_INLINE void Fetch(int64_t column) const { __builtin_prefetch(row + column); }
  const T* row;
};
template <typename T>
struct LaterRow<false, T> {
  HWY_INLINE void Fetch(int64_t) const {}
  const T* row;
};

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

// The dots of `count` <= N picks, from `first` on.
template <bool kFar, int N, typename T>
HWY_INLINE void GroupDots(const PickedTable<T>& picked, const float* rows, int64_t first,
                          int64_t count, float* dots) {
  const RowPick* picks = picked.batch.picks.data();
  const int64_t width = picked.batch.width;
  const auto last = static_cast<int64_t>(picked.batch.picks.size()) - 1;
  const T* row[N];
  const float* other[N];
  LaterRow<kFar, T> later[N];
  VF sums[N];
  PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
    const RowPick pick = picks[std::min(first + i, last)];
    row[i] = picked.table + RowOf(pick) * width;
    if (kFar) {
      later[i].row = picked.table + RowOf(picks[std::min(first + i + kFetchedAhead, last)]) * width;
    }
    other[i] = rows + (picked.batch.TokenOf(pick) - picked.first_token) * width;
    sums[i] = hn::Zero(DF());
  }
  ForEachVector(width, [&](int64_t c, auto vector) HWY_ATTR {
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) {
      later[i].Fetch(c);
      sums[i] = FusedMulAdd(DF(), vector.Load(row[i] + c), vector.Load(other[i] + c), sums[i]);
    }
  });
  float of_group[N];
  PEERAGE_UNROLL for (int i = 0; i < N; i += 4) { SumLanes(sums + i, of_group + i); }
  if (count == N) {
    PEERAGE_UNROLL for (int i = 0; i < N; ++i) dots[PickOf(picks[first + i])] = of_group[i];
  } else {
    for (int64_t i = 0; i < count; ++i) dots[PickOf(picks[first + i])] = of_group[i];
  }
}

template <bool kFar, typename T>
HWY_INLINE void Dots(const PickedTable<T>& picked, const float* rows, float* dots) {
  const auto count = static_cast<int64_t>(picked.batch.picks.size());
  int64_t i = 0;
  for (; i + kAtOnce <= count; i += kAtOnce) {
    GroupDots<kFar, kAtOnce>(picked, rows, i, kAtOnce, dots);
  }
  for (; i < count; i += 4) {
    GroupDots<false, 4>(picked, rows, i, std::min<int64_t>(4, count - i), dots);
  }
}

// A row whose multiple is added, and the one to fetch meanwhile.
template <bool kFar, typename T>
struct Addend {
  const T* row;
  LaterRow<kFar, T> later;
  float weight;
};

// sum += addends, kVectors columns of it in registers, from `column` on.
template <int kVectors, typename Vector, typename AddendOf>
HWY_INLINE void AddColumns(const Vector& vector, int64_t column, int64_t count,
                           const AddendOf& addend_of, float* sum) {
  VF sums[kVectors];
  PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
    sums[v] = vector.Load(sum + column + v * kLanes);
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto addend = addend_of(i);
    const VF weight = hn::Set(DF(), addend.weight);
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      const int64_t c = column + v * kLanes;
      addend.later.Fetch(c);
      sums[v] = FusedMulAdd(DF(), vector.Load(addend.row + c), weight, sums[v]);
    }
  }
  PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
    vector.Store(sums[v], sum + column + v * kLanes);
  }
}

template <typename AddendOf>
HWY_INLINE void AddRows(int64_t width, int64_t count, const AddendOf& addend_of, float* sum) {
  constexpr int kVectors = 8;
  int64_t c = 0;
  for (; c + kVectors * kLanes <= width; c += kVectors * kLanes) {
    AddColumns<kVectors>(WholeVector(), c, count, addend_of, sum);
  }
  for (; c + kLanes <= width; c += kLanes) AddColumns<1>(WholeVector(), c, count, addend_of, sum);
  if (c < width) AddColumns<1>(LastVector{width - c}, c, count, addend_of, sum);
}

template <bool kFar, typename T>
HWY_INLINE void Add(const PickedTable<T>& picked, const float* weights, float* rows) {
  const RowPick* picks = picked.batch.picks.data();
  const int64_t width = picked.batch.width;
  const auto count = static_cast<int64_t>(picked.batch.picks.size());
  for (int64_t begin = 0, end = 0; begin < count; begin = end) {
    end = picked.batch.EndOfToken(begin);
    const int64_t token = picked.batch.TokenOf(picks[begin]) - picked.first_token;
    const auto addend_of = [&](int64_t i) HWY_ATTR {
      const RowPick pick = picks[begin + i];
      Addend<kFar, T> addend{picked.table + RowOf(pick) * width, {}, weights[PickOf(pick)]};
      if (kFar) {
        const RowPick later = picks[std::min(begin + i + kFetchedAhead, count - 1)];
        addend.later.row = picked.table + RowOf(later) * width;
      }
      return addend;
    };
    AddRows(width, end - begin, addend_of, rows + token * width);
  }
}

template <typename T>
HWY_INLINE void SumAll(const BatchPicks& batch, const T* rows, const float* weights, float* sum) {
  const RowPick* picks = batch.picks.data();
  const auto addend_of = [&](int64_t i) HWY_ATTR {
    return Addend<false, T>{
        rows + batch.TokenOf(picks[i]) * batch.width, {}, weights[PickOf(picks[i])]};
  };
  AddRows(batch.width, static_cast<int64_t>(batch.picks.size()), addend_of, sum);
}

}  // namespace

void DotsF32(const PickedTable<float>& picked, const float* rows, float* dots) {
  picked.far ? Dots<true>(picked, rows, dots) : Dots<false>(picked, rows, dots);
}
void DotsBF16(const PickedTable<uint16_t>& picked, const float* rows, float* dots) {
  picked.far ? Dots<true>(picked, rows, dots) : Dots<false>(picked, rows, dots);
}
void AddF32(const PickedTable<float>& picked, const float* weights, float* rows) {
  picked.far ? Add<true>(picked, weights, rows) : Add<false>(picked, weights, rows);
}
void AddBF16(const PickedTable<uint16_t>& picked, const float* weights, float* rows) {
  picked.far ? Add<true>(picked, weights, rows) : Add<false>(picked, weights, rows);
}
void SumF32(const BatchPicks& picks, const float* batch, const float* weights, float* sum) {
  SumAll(picks, batch, weights, sum);
}
void SumBF16(const BatchPicks& picks, const uint16_t* batch, const float* weights, float* sum) {
  SumAll(picks, batch, weights, sum);
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

void PickDots(const PickedTable<float>& picked, const float* rows, float* dots) {
  HWY_DYNAMIC_DISPATCH(DotsF32)(picked, rows, dots);
}
void PickDots(const PickedTable<uint16_t>& picked, const float* rows, float* dots) {
  HWY_DYNAMIC_DISPATCH(DotsBF16)(picked, rows, dots);
}
void PickDots(const PickedTable<double>& picked, const double* rows, double* dots) {
  const int64_t width = picked.batch.width;
  for (const RowPick pick : picked.batch.picks) {
    const double* row = picked.table + RowOf(pick) * width;
    const double* other = rows + (picked.batch.TokenOf(pick) - picked.first_token) * width;
    double& dot = dots[PickOf(pick)];
    dot = 0;
    for (int64_t c = 0; c < width; ++c) dot += row[c] * other[c];
  }
}

void AddPicks(const PickedTable<float>& picked, const float* weights, float* rows) {
  HWY_DYNAMIC_DISPATCH(AddF32)(picked, weights, rows);
}
void AddPicks(const PickedTable<uint16_t>& picked, const float* weights, float* rows) {
  HWY_DYNAMIC_DISPATCH(AddBF16)(picked, weights, rows);
}
void AddPicks(const PickedTable<double>& picked, const double* weights, double* rows) {
  const int64_t width = picked.batch.width;
  for (const RowPick pick : picked.batch.picks) {
    const double* row = picked.table + RowOf(pick) * width;
    double* sum = rows + (picked.batch.TokenOf(pick) - picked.first_token) * width;
    for (int64_t c = 0; c < width; ++c) sum[c] += weights[PickOf(pick)] * row[c];
  }
}

void SumPicks(const BatchPicks& picks, const float* batch, const float* weights, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumF32)(picks, batch, weights, sum);
}
void SumPicks(const BatchPicks& picks, const uint16_t* batch, const float* weights, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumBF16)(picks, batch, weights, sum);
}
void SumPicks(const BatchPicks& picks, const double* batch, const double* weights, double* sum) {
  for (const RowPick pick : picks.picks) {
    const double* row = batch + picks.TokenOf(pick) * picks.width;
    for (int64_t c = 0; c < picks.width; ++c) sum[c] += weights[PickOf(pick)] * row[c];
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
