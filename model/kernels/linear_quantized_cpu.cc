// q8_0 and q4_1 weights with int8 activations: AVX2 and AVX3 (AVX-512 without VNNI) multiply-add
// pairs of bytes, AVX3_DL uses vpdpbusd. Sums inside a block of 32 are exact integers; blocks are
// combined in order of k.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "model/kernels/linear_layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/linear_quantized_cpu.cc"
#define HWY_WANT_AVX3_DL  // Highway 1.0.3 leaves it out unless asked
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/linear_tile-inl.h"

// Highway 1.0.3 compiles AVX3_DL with "avxvnni" (the 256-bit VEX form) where it means "avx512vnni".
// CPUs with AVX-512 often lack the former, so the compiler must not find a use for it: this file is
// compiled without automatic vectorisation.
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
HWY_BEFORE_NAMESPACE();
#endif
namespace peerage::kernels::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL

using DI32 = hn::ScalableTag<int32_t>;
using DI16 = hn::ScalableTag<int16_t>;
using DU16 = hn::ScalableTag<uint16_t>;
using DU8 = hn::ScalableTag<uint8_t>;
using DF16 = hn::Rebind<hwy::float16_t, DF>;
using VI32 = hn::Vec<DI32>;
using VI16 = hn::Vec<DI16>;
using VU8 = hn::Vec<DU8>;

constexpr int kLanes = HWY_LANES(float);
constexpr int kVectors = kOutputs / kLanes;  // of outputs in a tile

// What one pass over a tile holds in registers. A single token reads the tile in one pass.
constexpr int kPassTokens = 4;
constexpr int kPassVectors = HWY_TARGET == HWY_AVX3_DL ? 2 : 1;
constexpr int kTokensAtOnce = 256;  // their panels stay in the L2 cache

HWY_INLINE VU8 LowNibbles(VU8 v) { return hn::And(v, hn::Set(DU8(), 15)); }
HWY_INLINE VU8 HighNibbles(VU8 v) {
  return LowNibbles(hn::BitCast(DU8(), hn::ShiftRight<4>(hn::BitCast(DU16(), v))));
}
HWY_INLINE VU8 Broadcast4(const uint8_t* p) {
  int32_t bits;
  hwy::CopySameSize(reinterpret_cast<const int32_t*>(p), &bits);
  return hn::BitCast(DU8(), hn::Set(DI32(), bits));
}

// A Sum collects the 8 products of 4 bytes of one block, exactly. Clear, not an initialiser:
// implicit constructors do not get the target's attributes.
#if HWY_TARGET == HWY_AVX3_DL

struct SumQ8 {
  VI32 sum;
  HWY_INLINE void Clear() { sum = hn::Zero(DI32()); }
  HWY_INLINE void Add(VU8 w, VU8 x) { sum = VI32{_mm512_dpbusd_epi32(sum.raw, w.raw, x.raw)}; }
  HWY_INLINE VI32 Total() const { return sum; }
};
using SumQ4 = SumQ8;

#else

#if HWY_TARGET == HWY_AVX2
HWY_INLINE VI16 MulBytes(VU8 w, VU8 x) { return VI16{_mm256_maddubs_epi16(w.raw, x.raw)}; }
HWY_INLINE VI32 AddPairs(VI16 a, VI16 b) { return VI32{_mm256_madd_epi16(a.raw, b.raw)}; }
#else
HWY_INLINE VI16 MulBytes(VU8 w, VU8 x) { return VI16{_mm512_maddubs_epi16(w.raw, x.raw)}; }
HWY_INLINE VI32 AddPairs(VI16 a, VI16 b) { return VI32{_mm512_madd_epi16(a.raw, b.raw)}; }
#endif

// 16 bits hold a block of nibbles: 8 * 2 * 15 * 128 < 32768. A byte is two nibbles.
struct SumQ4 {
  VI16 sum;
  HWY_INLINE void Clear() { sum = hn::Zero(DI16()); }
  HWY_INLINE void Add(VU8 w, VU8 x) {
    sum = hn::Add(sum, MulBytes(w, x));
#if HWY_COMPILER_GCC_ACTUAL
    asm("" : "+v"(sum.raw));  // else GCC 12 reorders the sums and spills every product
#endif
  }
  HWY_INLINE VI32 Total() const { return AddPairs(sum, hn::Set(DI16(), 1)); }
};
struct SumQ8 {
  SumQ4 low, high;
  HWY_INLINE void Clear() { low.Clear(), high.Clear(); }
  HWY_INLINE void Add(VU8 w, VU8 x) {
    low.Add(LowNibbles(w), x);
    high.Add(HighNibbles(w), x);
  }
  HWY_INLINE VI32 Total() const {
    return hn::Add(low.Total(), AddPairs(high.sum, hn::Set(DI16(), 16)));
  }
};

#endif

// Fetches the tile that comes next into the L2 cache while several passes (one for each few tokens)
// multiply this one. They take turns, block by block, so that memory is never idle. A single pass
// reads a tile in order, which the hardware foresees: there it is better left alone.
struct Prefetcher {
  const uint8_t* tile;  // nullptr: nothing to fetch
  int passes;
  int pass = 0;

  HWY_INLINE int FirstBlock() {  // of the pass that starts, or -1
    return tile != nullptr && passes > 1 && pass < passes ? pass++ : -1;
  }
  template <size_t kBytes>
  HWY_INLINE void Fetch(int block) const {
    const uint8_t* p = tile + block * kBytes;
    PEERAGE_UNROLL for (size_t i = 0; i < kBytes; i += 64)
        __builtin_prefetch(p + i, /*rw=*/0, /*locality=*/2);
  }
};

// Activations of a panel and a tile's weights over the whole depth.
struct Operands {
  const uint8_t* w;
  const uint8_t* x;
  int blocks;
};

// V vectors of outputs (from `v0` of the tile) times T tokens (from `t0` of a panel of M).
template <WeightFormat kFormat, int M, int T, int V>
void TileKernel(const Operands& operands, int v0, int t0, Prefetcher& prefetch,
                const TileOutput& out) {
  constexpr bool kQ4 = kFormat == WeightFormat::kQ4_1;
  constexpr size_t kBlockBytes = TileBlockBytes(kFormat);
  using Sum = std::conditional_t<kQ4, SumQ4, SumQ8>;
  const DF df;
  const DF16 df16;
  const DU8 du8;
  const uint8_t* HWY_RESTRICT w = operands.w;
  const uint8_t* HWY_RESTRICT x = operands.x;
  VF total[T][V];
  PEERAGE_UNROLL for (int t = 0; t < T; ++t) {
    PEERAGE_UNROLL for (int v = 0; v < V; ++v) total[t][v] = hn::Zero(df);
  }
  int due = prefetch.FirstBlock();
  for (int b = 0; b < operands.blocks; ++b) {
    if (b == due) prefetch.Fetch<kBlockBytes>(b), due += prefetch.passes;
    Sum sum[T][V];
    PEERAGE_UNROLL for (int half = 0; half < 2; ++half) {  // k = 0..15, 16..31
      VU8 q[4][V];
      PEERAGE_UNROLL for (int g = 0; g < 4; ++g) {
        PEERAGE_UNROLL for (int v = 0; v < V; ++v) {
          const int pair = g + (kQ4 ? 0 : 4 * half);
          const VU8 raw = hn::Load(
              du8, w + VectorOffset(kFormat) + pair * kVectorPairBytes + (v0 + v) * kLanes * 4);
          q[g][v] = !kQ4 ? raw : half == 0 ? LowNibbles(raw) : HighNibbles(raw);
        }
      }
      PEERAGE_UNROLL for (int t = 0; t < T; ++t) {
        if (half == 0) {
          PEERAGE_UNROLL for (int v = 0; v < V; ++v) sum[t][v].Clear();
        }
        PEERAGE_UNROLL for (int g = 0; g < 4; ++g) {
          const VU8 xk = Broadcast4(x + (t0 + t) * kBlock + half * 16 + g * 4);
          PEERAGE_UNROLL for (int v = 0; v < V; ++v) sum[t][v].Add(q[g][v], xk);
        }
      }
    }
    const float* HWY_RESTRICT d = reinterpret_cast<const float*>(x + M * kBlock) + t0;
    const float* HWY_RESTRICT s = d + M;
    const int32_t* HWY_RESTRICT c = reinterpret_cast<const int32_t*>(s + M);
    PEERAGE_UNROLL for (int v = 0; v < V; ++v) {
      const auto* f16 = reinterpret_cast<const hwy::float16_t*>(w) + (v0 + v) * kLanes;
      const VF wd = hn::PromoteTo(df, hn::Load(df16, f16));
      const VF wm = kQ4 ? hn::PromoteTo(df, hn::Load(df16, f16 + kOutputs)) : wd;
      PEERAGE_UNROLL for (int t = 0; t < T; ++t) {
        VI32 i = sum[t][v].Total();
        if constexpr (!kQ4) i = hn::Add(i, hn::Set(DI32(), c[t]));
        const VF scaled = hn::Mul(hn::ConvertTo(df, i), wd);
        total[t][v] = hn::MulAdd(scaled, hn::Set(df, d[t]), total[t][v]);
        if constexpr (kQ4) total[t][v] = hn::MulAdd(wm, hn::Set(df, s[t]), total[t][v]);
      }
    }
    w += kBlockBytes;
    x += M * kPanelBlockBytes;
  }
  PEERAGE_UNROLL for (int t = 0; t < T; ++t) {
    PEERAGE_UNROLL for (int v = 0; v < V; ++v) out.Store(total[t][v], t0 + t, (v0 + v) * kLanes);
  }
}

template <WeightFormat kFormat, int M>
void PanelKernel(const Operands& operands, Prefetcher& prefetch, const TileOutput& out) {
  constexpr int T = std::min(M, kPassTokens);
  constexpr int V = M == 1 ? kVectors : kPassVectors;
  for (int v0 = 0; v0 < kVectors; v0 += V) {
    for (int t0 = 0; t0 < M; t0 += T) {
      TileKernel<kFormat, M, T, V>(operands, v0, t0, prefetch, out);
    }
  }
}

// The tile after `tile` in memory's order of use, or nullptr.
const uint8_t* NextTile(const LinearArgs& a, int tile) {
  return tile + 1 < a.weights.num_tiles() ? a.weights.tiles + (tile + 1) * a.weights.TileBytes()
                                          : a.next;
}

template <WeightFormat kFormat>
void Tiles(const LinearArgs& a, int first_tile, int end_tile) {
  const int blocks = a.weights.depth / kBlock;
  const size_t token_bytes = PanelTokenBytes(a.weights.depth);
  for (int t0 = 0; t0 < a.tokens; t0 += kTokensAtOnce) {
    const int t1 = std::min(a.tokens, t0 + kTokensAtOnce);
    for (int n = first_tile; n < end_tile; ++n) {
      const int passes = std::max(1, (t1 - t0) / kPassTokens * (kVectors / kPassVectors));
      Prefetcher prefetch{NextTile(a, n), passes};
      const uint8_t* tile = a.weights.tiles + n * a.weights.TileBytes();
      for (int t = t0; t < t1;) {
        const int tokens = PanelTokens(t1 - t);
        const auto kernel = tokens == 8   ? PanelKernel<kFormat, 8>
                            : tokens == 4 ? PanelKernel<kFormat, 4>
                            : tokens == 2 ? PanelKernel<kFormat, 2>
                                          : PanelKernel<kFormat, 1>;
        kernel({tile, a.panels + t * token_bytes, blocks}, prefetch, OutputOf(a, n, t));
        t += tokens;
      }
    }
  }
}

void LinearQuantizedTiles(const LinearArgs& a, int first_tile, int end_tile) {
  (a.weights.format == WeightFormat::kQ4_1 ? Tiles<WeightFormat::kQ4_1>
                                           : Tiles<WeightFormat::kQ8_0>)(a, first_tile, end_tile);
}

// One block of token t of a panel.
void QuantizeBlock(const float* HWY_RESTRICT x, int t, int panel_tokens,
                   uint8_t* HWY_RESTRICT out) {
  static constexpr float kZeros[kBlock] = {};
  const hn::CappedTag<float, 16> df;
  const hn::Rebind<int32_t, decltype(df)> di;
  const hn::Rebind<int8_t, decltype(df)> d8;
  const int lanes = static_cast<int>(hn::Lanes(df));
  // Magnitudes compare as their bits do, and NaN is above infinity.
  auto most = hn::Zero(di);
  for (int j = 0; j < kBlock; j += lanes) {
    most = hn::Max(most, hn::BitCast(di, hn::Abs(hn::LoadU(df, x + j))));
  }
  const float largest = hn::GetLane(hn::BitCast(df, hn::MaxOfLanes(di, most)));
  const bool finite = largest <= std::numeric_limits<float>::max();
  if (!finite) x = kZeros;
  const auto inverse = hn::Set(df, largest > kLeastScaled ? 127 / largest : 0);
  auto total = hn::Zero(di);
  for (int j = 0; j < kBlock; j += lanes) {
    const auto q = hn::NearestInt(hn::Mul(hn::LoadU(df, x + j), inverse));
    total = hn::Add(total, q);
    hn::StoreU(hn::DemoteTo(d8, q), d8, reinterpret_cast<int8_t*>(out) + t * kBlock + j);
  }
  const int32_t sum = hn::GetLane(hn::SumOfLanes(di, total));
  auto* d = reinterpret_cast<float*>(out + panel_tokens * kBlock);
  d[t] = finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN();
  d[panel_tokens + t] = d[t] * static_cast<float>(sum);
  reinterpret_cast<int32_t*>(d)[2 * panel_tokens + t] = -128 * sum;
}

void QuantizeTokens(const QuantizeArgs& a, int first_token, int end_token) {
  for (int token = first_token; token < end_token; ++token) {
    const Panel panel = PanelOf(token, a.tokens);
    uint8_t* out = a.panels + panel.first * PanelTokenBytes(a.depth);
    for (int k = 0; k < a.depth; k += kBlock, out += panel.tokens * kPanelBlockBytes) {
      QuantizeBlock(a.x + token * a.stride + k, token - panel.first, panel.tokens, out);
    }
  }
}

#else

void LinearQuantizedTiles(const LinearArgs& a, int first_tile, int end_tile) {
  for (int t = 0; t < a.tokens; ++t) {
    for (int n = first_tile * kOutputs; n < std::min(a.weights.outputs, end_tile * kOutputs); ++n) {
      const float result = LinearReference(a, t, n);
      float& y = a.y[t * a.y_stride + n];
      y = a.epilogue == Epilogue::kAdd ? y + result : result;
    }
  }
}

void QuantizeTokens(const QuantizeArgs& a, int first_token, int end_token) {
  QuantizeReference(a, first_token, end_token);
}

#endif  // HWY_TARGET

}  // namespace peerage::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(LinearQuantizedTiles);
HWY_EXPORT(QuantizeTokens);

void LinearQuantized(const LinearArgs& args, int first_tile, int end_tile) {
  HWY_DYNAMIC_DISPATCH(LinearQuantizedTiles)(args, first_tile, end_tile);
}

void Quantize(const QuantizeArgs& args, int first_token, int end_token) {
  HWY_DYNAMIC_DISPATCH(QuantizeTokens)(args, first_token, end_token);
}

}  // namespace peerage::kernels
#endif
