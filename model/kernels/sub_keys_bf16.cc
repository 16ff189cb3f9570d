#include "model/kernels/sub_keys_bf16.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "hwy/base.h"
#include "model/kernels/load.h"
#include "model/kernels/sub_keys_layout.h"

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

#if HWY_COMPILER_CLANG
#define PEERAGE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PEERAGE_UNROLL _Pragma("GCC unroll 32")
#endif

constexpr int kLanes = 16;
constexpr int kPanelVectors = kPanelKeys / kLanes;

__mmask16 FirstLanes(int n) { return n >= kLanes ? 0xffff : (1u << n) - 1; }

void RoundQuery(const float* query, int width, uint32_t* pairs) {
  auto* out = reinterpret_cast<uint16_t*>(pairs);
  for (int i = 0; i < width; i += kLanes) {
    const __mmask16 exists = FirstLanes(width - i);
    const __m512 x = _mm512_maskz_loadu_ps(exists, query + i);
    // An odd width has a zero behind it.
    const __mmask16 stored = exists | ((width & 1) != 0 ? exists << 1 : 0);
    _mm256_mask_storeu_epi16(out + i, stored, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  }
}

struct Panel {
  const uint8_t* keys;
  size_t bytes;  // to the next panel
  int pairs;
};
struct Rows {
  const uint32_t* queries;  // [rows][pairs]
  float* scores;            // [rows][stride]
  size_t stride;
};

// R rows, P panels.
template <int R, int P>
void ScorePanels(const Panel& panel, const Rows& rows) {
  constexpr int kVectors = P * kPanelVectors;
  __m512 total[R][kVectors];
  PEERAGE_UNROLL for (int r = 0; r < R; ++r) {
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) total[r][v] = _mm512_setzero_ps();
  }
  const uint8_t* keys = panel.keys;
  for (int k = 0; k < panel.pairs; ++k, keys += 4 * kPanelKeys) {
    __m512bh key[kVectors];
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      key[v] = reinterpret_cast<__m512bh>(_mm512_load_si512(keys + v / kPanelVectors * panel.bytes +
                                                            v % kPanelVectors * sizeof(__m512i)));
    }
    PEERAGE_UNROLL for (int r = 0; r < R; ++r) {
      const auto query =
          reinterpret_cast<__m512bh>(_mm512_set1_epi32(rows.queries[r * panel.pairs + k]));
      PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
        total[r][v] = _mm512_dpbf16_ps(total[r][v], key[v], query);
      }
    }
  }
  PEERAGE_UNROLL for (int r = 0; r < R; ++r) {
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      _mm512_storeu_ps(rows.scores + r * rows.stride + v * kLanes, total[r][v]);
    }
  }
}

// Turns 16 rows of 16 lanes into 16 columns.
inline void Transpose(__m512i (&m)[16]) {
  __m512i t[16];
  PEERAGE_UNROLL for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(m[i], m[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(m[i], m[i + 1]);
  }
  PEERAGE_UNROLL for (int i = 0; i < 16; i += 4) {
    PEERAGE_UNROLL for (int j = 0; j < 2; ++j) {
      m[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + 2 + j]);
      m[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + 2 + j]);
    }
  }
  // m[4 g + c]: in each 128-bit block b, column 4 b + c of rows 4 g..4 g + 3.
  PEERAGE_UNROLL for (int c = 0; c < 4; ++c) {
    const __m512i even01 = _mm512_shuffle_i32x4(m[c], m[4 + c], 0x88);
    const __m512i odd01 = _mm512_shuffle_i32x4(m[c], m[4 + c], 0xdd);
    const __m512i even23 = _mm512_shuffle_i32x4(m[8 + c], m[12 + c], 0x88);
    const __m512i odd23 = _mm512_shuffle_i32x4(m[8 + c], m[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(even01, even23, 0x88);
    t[4 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(even01, even23, 0xdd);
    t[12 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0xdd);
  }
  PEERAGE_UNROLL for (int i = 0; i < 16; ++i) m[i] = t[i];
}

inline __m512 Even(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
inline __m512 Odd(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff0000)));
}

// The chains of 16 keys, one in each lane.
template <WeightFormat kFormat>
__m512 ScoreLanes(const RescoreArgs& a, const SubKeyLayout& layout, const uint32_t* ids) {
  constexpr int kStep = kFormat == WeightFormat::kF32 ? 16 : 32;  // elements of 64 bytes
  const uint8_t* key[16];
  for (int i = 0; i < 16; ++i) key[i] = a.keys.data + layout.rows + ids[i] * layout.row_bytes;
  __m512 total = _mm512_setzero_ps();
  const auto add = [&](int i, __m512 element) {
    total = _mm512_fmadd_ps(element, _mm512_set1_ps(a.query[i]), total);
  };
  for (int i = 0; i < a.keys.width; i += kStep) {
    __m512i m[16];
    PEERAGE_UNROLL for (int j = 0; j < 16; ++j) m[j] = _mm512_load_si512(key[j] + i / kStep * 64);
    Transpose(m);
    const int left = std::min(kStep, a.keys.width - i);
    if constexpr (kFormat == WeightFormat::kF32) {
      PEERAGE_UNROLL for (int j = 0; j < kStep; ++j) {
        if (j < left) add(i + j, _mm512_castsi512_ps(m[j]));
      }
    } else {
      PEERAGE_UNROLL for (int j = 0; j < kStep; j += 2) {
        if (j < left) add(i + j, Even(m[j / 2]));
        if (j + 1 < left) add(i + j + 1, Odd(m[j / 2]));
      }
    }
  }
  return total;
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
  const float key_norm = Load<float>(keys.data + SubKeyLayout(keys).norm);
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
  constexpr int kRowsAtOnce = 6;  // x 4 vectors fill the registers
  constexpr decltype(&ScorePanels<1, 1>) kRows[] = {ScorePanels<1, 1>, ScorePanels<2, 1>,
                                                    ScorePanels<3, 1>, ScorePanels<4, 1>,
                                                    ScorePanels<5, 1>, ScorePanels<6, 1>};
  const int pairs = PanelPairs(a.keys);
  for (int r = 0; r < a.rows; ++r) {
    RoundQuery(a.queries + r * a.stride, a.keys.width, a.rounded + size_t(r) * pairs);
  }
  const size_t bytes = PanelBytes(a.keys);
  Panel panel{a.keys.data + SubKeyLayout(a.keys).panels, bytes, pairs};
  const int num_panels = NumPanels(a.keys);
  for (int p = 0; p < num_panels;) {
    Rows rows{a.rounded, a.scores + size_t(p) * kPanelKeys, a.score_stride};
    const bool two = a.rows == 1 && p + 2 <= num_panels;  // more chains hide their latency
    for (int r = 0, passes = (a.rows + kRowsAtOnce - 1) / kRowsAtOnce; passes > 0; --passes) {
      const int n = (a.rows - r + passes - 1) / passes;
      (two ? ScorePanels<1, 2> : kRows[n - 1])(panel, rows);
      rows.queries += size_t(n) * pairs;
      rows.scores += n * a.score_stride;
      r += n;
    }
    p += two ? 2 : 1;
    panel.keys += (two ? 2 : 1) * bytes;
  }
}

void Rescore(const RescoreArgs& a) {
  const SubKeyLayout layout(a.keys);
  const auto score = a.keys.format == WeightFormat::kF32 ? ScoreLanes<WeightFormat::kF32>
                                                         : ScoreLanes<WeightFormat::kBF16>;
  for (int i = a.count; i % kLanes != 0; ++i) a.ids[i] = 0;
  for (int i = 0; i < a.count; i += kLanes) {
    _mm512_storeu_ps(a.scores + i, score(a, layout, a.ids + i));
  }
}

HWY_POP_ATTRIBUTES

#else

bool HasBF16Arithmetic() { return false; }
float BF16Tolerance(const SubKeys&, const float*) { return 0; }
void ScoreApproximately(const ApproximateArgs&) {}
void Rescore(const RescoreArgs&) {}

#endif  // HWY_ARCH_X86_64

}  // namespace peerage::kernels
