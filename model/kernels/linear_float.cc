// f32 and bf16 weights: every output is one chain of fused multiply-adds in order of k.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/kernels/float16.h"
#include "model/kernels/linear_layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/linear_float.cc"
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

HWY_INLINE VF LoadWeights(const float* p) { return hn::Load(DF(), p); }
HWY_INLINE VF LoadWeights(const hwy::bfloat16_t* p) {
  return hn::PromoteTo(DF(), hn::Load(hn::Rebind<hwy::bfloat16_t, DF>(), p));
}

struct Activations {
  const float* x;  // [tokens][stride]
  size_t stride;
};

// The whole depth for N tiles, V vectors of outputs (from `v0` of each tile) and T tokens.
template <typename W, int N, int T, int V>
void TileKernel(const W* HWY_RESTRICT w, const Activations& a, int depth, int v0,
                const TileOutput& out) {
  const DF df;
  const size_t tile_elements = size_t{kOutputs} * depth;
  w += v0 * kLanes;
  VF total[N][T][V];
  UNROLL for (int n = 0; n < N; ++n) {
    UNROLL for (int t = 0; t < T; ++t) {
      UNROLL for (int v = 0; v < V; ++v) total[n][t][v] = hn::Zero(df);
    }
  }
  const float* HWY_RESTRICT x[T];
  UNROLL for (int t = 0; t < T; ++t) x[t] = a.x + t * a.stride;
  for (int k = 0; k < depth; ++k, w += kOutputs) {
    VF wk[N][V];
    UNROLL for (int n = 0; n < N; ++n) {
      UNROLL for (int v = 0; v < V; ++v) wk[n][v] = LoadWeights(w + n * tile_elements + v * kLanes);
    }
    UNROLL for (int t = 0; t < T; ++t) {
      const VF xk = hn::Set(df, x[t][k]);
      UNROLL for (int n = 0; n < N; ++n) {
        UNROLL for (int v = 0; v < V; ++v) {
          total[n][t][v] = hn::MulAdd(wk[n][v], xk, total[n][t][v]);
        }
      }
    }
  }
  UNROLL for (int n = 0; n < N; ++n) {
    TileOutput tile = out;
    tile.y += n * kOutputs;
    tile.outputs -= n * kOutputs;
    UNROLL for (int t = 0; t < T; ++t) {
      UNROLL for (int v = 0; v < V; ++v) tile.Store(total[n][t][v], t, (v0 + v) * kLanes);
    }
  }
}

template <typename W, int T>
void TokenPass(const LinearArgs& a, int first_tile, int end_tile, int token) {
  constexpr int V = T <= 2 ? kVectors : 2;
  constexpr int N = std::max(1, kChains / (T * V));
  const auto* weights = reinterpret_cast<const W*>(a.weights.tiles);
  const size_t tile_elements = size_t{kOutputs} * a.weights.depth;
  const Activations x{a.x + token * a.x_stride, a.x_stride};
  for (int n = first_tile; n < end_tile;) {
    const bool together = n + N <= end_tile;
    for (int v0 = 0; v0 < kVectors; v0 += V) {
      (together ? TileKernel<W, N, T, V> : TileKernel<W, 1, T, V>)(weights + n * tile_elements, x,
                                                                   a.weights.depth, v0,
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
      float result = 0;
      for (int k = 0; k < w.depth; ++k) {
        const float wk = LoadWeight(tile, w.format, size_t{kOutputs} * k + n % kOutputs);
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
