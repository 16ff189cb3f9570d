#include <algorithm>
#include <cmath>
#include <limits>

#include "base/little_endian.h"
#include "hwy/base.h"
#include "model/kernels/sub_keys.h"
#include "model/kernels/unroll.h"

#if HWY_ARCH_X86_64
HWY_DIAGNOSTICS(push)
HWY_DIAGNOSTICS_OFF(disable : 4700, ignored "-Wuninitialized")  // undefined vectors of GCC 12
#include <immintrin.h>
HWY_DIAGNOSTICS(pop)
#endif

namespace peerage::kernels {

#if HWY_ARCH_X86_64

bool HasBF16Arithmetic() {
  static const bool has =
      __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw");
  return has;
}

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")
namespace {

constexpr int kLanes = 16;
constexpr int kTileVectors = kOutputs / kLanes;

__mmask16 FirstLanes(int n) { return n >= kLanes ? 0xffff : (1u << n) - 1; }

// Whole vectors; behind the width are zeros.
void RoundQuery(const float* query, int width, uint32_t* pairs) {
  for (int i = 0; i < width; i += kLanes) {
    const __m512 x = _mm512_maskz_loadu_ps(FirstLanes(width - i), query + i);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(pairs + i / 2),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  }
}

struct Tiles {
  const uint8_t* keys;
  size_t bytes;  // to the next tile
  int pairs;     // of k
};
struct Rows {
  const uint32_t* queries;  // [rows][query_stride]
  size_t query_stride;
  float* scores;  // [rows][score_stride]
  size_t score_stride;
};

// R rows, N tiles. Four tiles of one row have enough chains to hide their latency.
template <int R, int N>
void ScoreTiles(const Tiles& tiles, const Rows& rows) {
  constexpr int kVectors = N * kTileVectors;
  __m512 total[R][kVectors];
  PEERAGE_UNROLL for (int r = 0; r < R; ++r) {
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) total[r][v] = _mm512_setzero_ps();
  }
  const uint8_t* keys = tiles.keys;
  for (int k = 0; k < tiles.pairs; ++k, keys += 4 * kOutputs) {
    __m512bh key[kVectors];
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      key[v] = reinterpret_cast<__m512bh>(_mm512_load_si512(keys + v / kTileVectors * tiles.bytes +
                                                            v % kTileVectors * sizeof(__m512i)));
    }
    PEERAGE_UNROLL for (int r = 0; r < R; ++r) {
      const auto query =
          reinterpret_cast<__m512bh>(_mm512_set1_epi32(rows.queries[r * rows.query_stride + k]));
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        total[r][v] = _mm512_dpbf16_ps(total[r][v], key[v], query);
      }
    }
  }
  PEERAGE_UNROLL for (int r = 0; r < R; ++r) {
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      _mm512_storeu_ps(rows.scores + r * rows.score_stride + v * kLanes, total[r][v]);
    }
  }
}

template <int N>
void ScoreAllRows(const Tiles& tiles, Rows rows, int count) {
  constexpr int kRowsAtOnce = 6;  // x 4 vectors fill the registers
  constexpr decltype(&ScoreTiles<1, N>) kScore[] = {ScoreTiles<1, N>, ScoreTiles<2, N>,
                                                    ScoreTiles<3, N>, ScoreTiles<4, N>,
                                                    ScoreTiles<5, N>, ScoreTiles<6, N>};
  for (int passes = (count + kRowsAtOnce - 1) / kRowsAtOnce; passes > 0; --passes) {
    const int n = (count + passes - 1) / passes;  // equal passes have no lonely last row
    kScore[n - 1](tiles, rows);
    rows.queries += n * rows.query_stride;
    rows.scores += n * rows.score_stride;
    count -= n;
  }
}

// In each 128-bit block: turns 4 rows of 4 lanes into 4 columns.
HWY_INLINE void TransposeBlocks(__m512i* m) {
  const __m512i low01 = _mm512_unpacklo_epi32(m[0], m[1]);
  const __m512i high01 = _mm512_unpackhi_epi32(m[0], m[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(m[2], m[3]);
  const __m512i high23 = _mm512_unpackhi_epi32(m[2], m[3]);
  m[0] = _mm512_unpacklo_epi64(low01, low23);
  m[1] = _mm512_unpackhi_epi64(low01, low23);
  m[2] = _mm512_unpacklo_epi64(high01, high23);
  m[3] = _mm512_unpackhi_epi64(high01, high23);
}

// 32 bytes at `offset` of 16 keys, transposed: lane j of column i is 32-bit element i of key j.
HWY_INLINE void LoadColumns(const uint8_t* const* keys, size_t offset, __m512i (&columns)[8]) {
  const auto load = [&](int j) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(keys[j] + offset));
  };
  __m512i m[8];  // keys i and 4 + i, then 8 + i and 12 + i
  PEERAGE_UNROLL for (int i = 0; i < 8; ++i) {
    const int key = i / 4 * 8 + i % 4;
    m[i] = _mm512_inserti64x4(_mm512_castsi256_si512(load(key)), load(key + 4), 1);
  }
  TransposeBlocks(m);
  TransposeBlocks(m + 4);
  PEERAGE_UNROLL for (int i = 0; i < 4; ++i) {
    columns[i] = _mm512_shuffle_i32x4(m[i], m[4 + i], 0x88);
    columns[4 + i] = _mm512_shuffle_i32x4(m[i], m[4 + i], 0xdd);
  }
}

HWY_INLINE __m512 Even(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
HWY_INLINE __m512 Odd(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff0000)));
}

// A column holds one f32 or two bf16 of each key.
template <WeightFormat kFormat>
constexpr int kElements = kFormat == WeightFormat::kF32 ? 1 : 2;
template <WeightFormat kFormat>
HWY_INLINE __m512 Element(__m512i column, int i) {
  if (kFormat == WeightFormat::kF32) return _mm512_castsi512_ps(column);
  return i == 0 ? Even(column) : Odd(column);
}

// The chains of G times 16 keys, one in each lane: G chains hide each other's latency.
template <WeightFormat kFormat, int G>
void ScoreLanes(const RescoreArgs& a, const uint32_t* ids, float* scores) {
  constexpr int kPart = kElements<kFormat>;
  constexpr int kStep = 8 * kPart;  // elements of 32 bytes
  const SubKeyLayout layout(a.keys);
  const uint8_t* keys[G * kLanes];
  for (int j = 0; j < G * kLanes; ++j) {
    keys[j] = a.keys.data + layout.rows + ids[j] * layout.row_bytes;
  }
  __m512 total[G];
  PEERAGE_UNROLL for (int g = 0; g < G; ++g) total[g] = _mm512_setzero_ps();
  for (int k = 0; k < a.keys.width; k += kStep) {
    const int left = a.keys.width - k;
    __m512i columns[G][8];
    PEERAGE_UNROLL for (int g = 0; g < G; ++g) {
      LoadColumns(keys + g * kLanes, size_t(k) / kStep * 32, columns[g]);
    }
    PEERAGE_UNROLL for (int i = 0; i < kStep; ++i) {
      if (i < left) {
        const __m512 query = _mm512_set1_ps(a.query[k + i]);
        PEERAGE_UNROLL for (int g = 0; g < G; ++g) {
          const __m512 key = Element<kFormat>(columns[g][i / kPart], i % kPart);
          total[g] = _mm512_fmadd_ps(key, query, total[g]);
        }
      }
    }
  }
  PEERAGE_UNROLL for (int g = 0; g < G; ++g) _mm512_storeu_ps(scores + g * kLanes, total[g]);
}

template <WeightFormat kFormat>
void ScoreAllLanes(const RescoreArgs& a) {
  for (int i = a.count; i % kLanes != 0; ++i) a.ids[i] = 0;
  int i = 0;
  for (; i + kLanes < a.count; i += 2 * kLanes) {
    ScoreLanes<kFormat, 2>(a, a.ids + i, a.scores + i);
  }
  if (i < a.count) ScoreLanes<kFormat, 1>(a, a.ids + i, a.scores + i);
}

}  // namespace

// For a key c and a query q, with u = 2^-9 (bf16 has 8 bits), w the width and |.| the Euclidean
// norm, each of these is at most so much times |q| |c|, by Cauchy and Schwarz:
//   rounding the query u, f32 keys as well another u + u^2;
//   two fp32 sums of w products, the instruction's with up to two roundings a product: 3 w 2^-24;
//   one rounding of the threshold 2^-24.
// Within the limits on the norms, what the instruction flushes to zero (below 2^-126) is lost in
// the last percent.
float BF16Tolerance(const SubKeys& keys, const float* query) {
  constexpr float kLeast = 0x1p-30f, kMost = 0x1p30f;
  const float key_norm = LoadLittleEndian<float>(keys.data + SubKeyLayout(keys).norm);
  __m512 squares = _mm512_setzero_ps();
  for (int i = 0; i < keys.width; i += kLanes) {
    const __m512 x = _mm512_maskz_loadu_ps(FirstLanes(keys.width - i), query + i);
    squares = _mm512_fmadd_ps(x, x, squares);
  }
  const float norm = std::sqrt(_mm512_reduce_add_ps(squares));
  if (!(kLeast < norm && norm < kMost && kLeast < key_norm && key_norm < kMost)) {
    return std::numeric_limits<float>::infinity();
  }
  const float rounding = keys.format == WeightFormat::kF32 ? 0x1p-8f + 0x1p-18f : 0x1p-9f;
  const float sums = static_cast<float>(3 * keys.width + 1) * 0x1p-24f;
  return 1.01f * (rounding + sums) * norm * key_norm;
}

void ScoreApproximately(const ApproximateArgs& a) {
  const size_t query_stride = RoundedStride(a.keys.width);
  for (int r = 0; r < a.rows; ++r) {
    RoundQuery(a.queries + r * a.stride, a.keys.width, a.rounded + r * query_stride);
  }
  const PackedMatrix keys = BF16Tiles(a.keys);
  Tiles tiles{keys.tiles, keys.TileBytes(), (keys.depth + 1) / 2};
  for (int n = 0; n < keys.num_tiles();) {
    const Rows rows{a.rounded, query_stride, a.scores + size_t(n) * kOutputs, a.score_stride};
    const int left = keys.num_tiles() - n;
    const int at_once = left == 1 ? 1 : a.rows == 1 && left >= 4 ? 4 : 2;
    (at_once == 4   ? ScoreTiles<1, 4>(tiles, rows)
     : at_once == 2 ? ScoreAllRows<2>(tiles, rows, a.rows)
                    : ScoreAllRows<1>(tiles, rows, a.rows));
    tiles.keys += at_once * tiles.bytes;
    n += at_once;
  }
}

void Rescore(const RescoreArgs& a) {
  const bool f32 = a.keys.format == WeightFormat::kF32;
  (f32 ? ScoreAllLanes<WeightFormat::kF32> : ScoreAllLanes<WeightFormat::kBF16>)(a);
}

HWY_POP_ATTRIBUTES

#else

bool HasBF16Arithmetic() { return false; }
float BF16Tolerance(const SubKeys&, const float*) { return 0; }
void ScoreApproximately(const ApproximateArgs&) {}
void Rescore(const RescoreArgs&) {}

#endif  // HWY_ARCH_X86_64

}  // namespace peerage::kernels
