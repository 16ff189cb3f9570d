// f32 and bf16 weights: every output is one chain of fused multiply-adds in order of k.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/kernels/float16.h"
#include "model/kernels/linear_layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/linear_float_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/linear_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

constexpr int kLanes = HWY_LANES(float);
constexpr int kVectors = kOutputs / kLanes;  // of outputs in a tile
constexpr int kPassTokens = 6;               // x 2 vectors fill the registers
constexpr int kTokensAtOnce = 96;            // their activations stay in the L2 cache
constexpr int kChains = 8;                   // of fused multiply-adds that hide their latency

// The weights of a vector of outputs at one k, whose parity is known when compiled: bf16 lies in
// pairs of k, so that one load, a shift and a mask give both.
template <int kParity>
HWY_INLINE VF LoadWeights(const float* tile, int k, int output) {
  return hn::Load(DF(), tile + size_t{kOutputs} * k + output);
}
template <int kParity>
HWY_INLINE VF LoadWeights(const hwy::bfloat16_t* tile, int k, int output) {
  const hn::RebindToUnsigned<DF> du;
  const auto* pairs = reinterpret_cast<const uint32_t*>(tile);
  const auto pair = hn::Load(du, pairs + size_t{kOutputs} * (k / 2) + output);
  return hn::BitCast(
      DF(), kParity == 0 ? hn::ShiftLeft<16>(pair) : hn::And(pair, hn::Set(du, 0xFFFF0000)));
}

struct Activations {
  const float* x;  // [tokens][stride]
  size_t stride;
};

// Sums of N tiles, V vectors of outputs and T tokens.
template <int N, int T, int V>
struct Totals {
  VF sum[N][T][V];

  HWY_INLINE void Clear() {
    PEERAGE_UNROLL for (int n = 0; n < N; ++n) {
      PEERAGE_UNROLL for (int t = 0; t < T; ++t) {
        PEERAGE_UNROLL for (int v = 0; v < V; ++v) sum[n][t][v] = hn::Zero(DF());
      }
    }
  }

  template <int kParity, typename W>
  HWY_INLINE void Add(const W* HWY_RESTRICT tiles, size_t tile_elements, int k, int v0,
                      const float* const HWY_RESTRICT x[T]) {
    VF wk[N][V];
    PEERAGE_UNROLL for (int n = 0; n < N; ++n) {
      PEERAGE_UNROLL for (int v = 0; v < V; ++v) {
        wk[n][v] = LoadWeights<kParity>(tiles + n * tile_elements, k, (v0 + v) * kLanes);
      }
    }
    PEERAGE_UNROLL for (int t = 0; t < T; ++t) {
      const VF xk = hn::Set(DF(), x[t][k]);
      PEERAGE_UNROLL for (int n = 0; n < N; ++n) {
        PEERAGE_UNROLL for (int v = 0; v < V; ++v) {
          sum[n][t][v] = hn::MulAdd(wk[n][v], xk, sum[n][t][v]);
        }
      }
    }
  }
};

// The whole depth for N tiles, V vectors of outputs (from `v0` of each tile) and T tokens.
template <typename W, int N, int T, int V>
void TileKernel(const W* HWY_RESTRICT w, const Activations& a, const PackedMatrix& m, int v0,
                const TileOutput& out) {
  const size_t tile_elements = m.TileBytes() / sizeof(W);
  const float* HWY_RESTRICT x[T];
  PEERAGE_UNROLL for (int t = 0; t < T; ++t) x[t] = a.x + t * a.stride;
  Totals<N, T, V> total;
  total.Clear();
  int k = 0;
  for (; k + 1 < m.depth; k += 2) {
    total.template Add<0>(w, tile_elements, k, v0, x);
    total.template Add<1>(w, tile_elements, k + 1, v0, x);
  }
  if (k < m.depth) total.template Add<0>(w, tile_elements, k, v0, x);
  PEERAGE_UNROLL for (int n = 0; n < N; ++n) {
    TileOutput tile = out;
    tile.y += n * kOutputs;
    tile.outputs -= n * kOutputs;
    PEERAGE_UNROLL for (int t = 0; t < T; ++t) {
      PEERAGE_UNROLL for (int v = 0; v < V; ++v)
          tile.Store(total.sum[n][t][v], t, (v0 + v) * kLanes);
    }
  }
}

template <typename W, int T>
void TokenPass(const LinearArgs& a, int first_tile, int end_tile, int token) {
  constexpr int V = T <= 2 ? kVectors : 2;
  constexpr int N = std::max(1, kChains / (T * V));
  const auto* weights = reinterpret_cast<const W*>(a.weights.tiles);
  const size_t tile_elements = a.weights.TileBytes() / sizeof(W);
  const Activations x{a.x + token * a.x_stride, a.x_stride};
  for (int n = first_tile; n < end_tile;) {
    const bool together = n + N <= end_tile;
    for (int v0 = 0; v0 < kVectors; v0 += V) {
      (together ? TileKernel<W, N, T, V> : TileKernel<W, 1, T, V>)(weights + n * tile_elements, x,
                                                                   a.weights, v0,
                                                                   OutputOf(a, n, token));
    }
    n += together ? N : 1;
  }
}

template <typename W>
void Tiles(const LinearArgs& a, int first_tile, int end_tile) {
  constexpr decltype(&TokenPass<W, 1>) kPasses[] = {TokenPass<W, 1>, TokenPass<W, 2>,
                                                    TokenPass<W, 3>, TokenPass<W, 4>,
                                                    TokenPass<W, 5>, TokenPass<W, 6>};
  const int tiles_at_once = a.tokens <= 2 ? end_tile - first_tile : 1;
  for (int t0 = 0; t0 < a.tokens; t0 += kTokensAtOnce) {
    const int t1 = std::min(a.tokens, t0 + kTokensAtOnce);
    for (int n = first_tile; n < end_tile; n += tiles_at_once) {
      for (int t = t0, passes = (t1 - t0 + kPassTokens - 1) / kPassTokens; passes > 0; --passes) {
        const int tokens =
            (t1 - t + passes - 1) / passes;  // equal passes have no lonely last token
        kPasses[tokens - 1](a, n, n + tiles_at_once, t);
        t += tokens;
      }
    }
  }
}

void LinearFloatTiles(const LinearArgs& a, int first_tile, int end_tile) {
  (a.weights.format == WeightFormat::kF32 ? Tiles<float> : Tiles<hwy::bfloat16_t>)(a, first_tile,
                                                                                   end_tile);
}

#else

float LoadWeight(const uint8_t* tiles, WeightFormat format, size_t i) {
  if (format == WeightFormat::kF32) return reinterpret_cast<const float*>(tiles)[i];
  return F32FromBF16(reinterpret_cast<const uint16_t*>(tiles)[i]);
}

void LinearFloatTiles(const LinearArgs& a, int first_tile, int end_tile) {
  const PackedMatrix& w = a.weights;
  for (int t = 0; t < a.tokens; ++t) {
    for (int n = first_tile * kOutputs; n < std::min(w.outputs, end_tile * kOutputs); ++n) {
      const uint8_t* tile = w.tiles + n / kOutputs * w.TileBytes();
      const int lane = n % kOutputs;
      float result = 0;
      for (int k = 0; k < w.depth; ++k) {
        const float wk = LoadWeight(tile, w.format, FloatIndex(w.format, k, lane));
        result = std::fma(wk, a.x[t * a.x_stride + k], result);
      }
      float& y = a.y[t * a.y_stride + n];
      y = a.epilogue == Epilogue::kAdd ? y + result : result;
    }
  }
}

#endif  // HWY_TARGET

}  // namespace peerage::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(LinearFloatTiles);

void LinearFloat(const LinearArgs& args, int first_tile, int end_tile) {
  HWY_DYNAMIC_DISPATCH(LinearFloatTiles)(args, first_tile, end_tile);
}

}  // namespace peerage::kernels
#endif
