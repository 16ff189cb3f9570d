// What the kernels of linear.h share, compiled once per instruction set.
#if defined(PEERAGE_LINEAR_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PEERAGE_LINEAR_TILE_INL_H_
#undef PEERAGE_LINEAR_TILE_INL_H_
#else
#define PEERAGE_LINEAR_TILE_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"
#include "model/kernels/linear.h"
#include "model/kernels/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// Where the outputs of a tile go.
struct TileOutput {
  float* y;  // [tokens][stride], the tile's first output
  size_t stride;
  int outputs;  // of the matrix from here on
  Epilogue epilogue;

  // Stores the vector of outputs `first`.. of token t.
  HWY_INLINE void Store(VF result, int t, int first) const {
    const DF df;
    float* p = y + t * stride + first;
    if (first >= outputs) return;
    if (first + static_cast<int>(hn::Lanes(df)) <= outputs) {
      if (epilogue == Epilogue::kAdd) result = hn::Add(hn::LoadU(df, p), result);
      hn::StoreU(result, df, p);
    } else {
      const auto mask = hn::FirstN(df, outputs - first);
      if (epilogue == Epilogue::kAdd) result = hn::Add(hn::MaskedLoad(mask, df, p), result);
      hn::BlendedStore(result, mask, df, p);
    }
  }
};

inline TileOutput OutputOf(const LinearArgs& a, int tile, int token) {
  return {a.y + token * a.y_stride + tile * kOutputs, a.y_stride,
          a.weights.outputs - tile * kOutputs, a.epilogue};
}

}  // namespace peerage::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
