#include <algorithm>
#include <type_traits>
#include <vector>

#include "train/kernels/divisor.h"
#include "train/kernels/key_gradients.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train/kernels/key_gradients_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "train/kernels/row_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

// One half of one token, some columns of it in registers. `rows`: where its picks' sub-keys are.
template <int kVectors, typename Vector>
HWY_INLINE void AddColumns(const KeyGradientsArgs<float>& args, const Vector& vector,
                           const int64_t* rows, const float* weights, const float* query,
                           float* query_gradient) {
  VF of_query[kVectors], sums[kVectors];
  PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
    of_query[v] = vector.Load(query + v * kLanes);
    sums[v] = hn::Zero(DF());
  }
  for (int64_t i = 0; i < args.top_k; ++i) {
    const VF weight = hn::Set(DF(), weights[i]);
    const float* sub_key = args.sub_keys + rows[i];
    float* gradient = args.sub_key_gradients + rows[i];
    PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
      const int64_t c = v * kLanes;
      sums[v] = FusedMulAdd(DF(), vector.Load(sub_key + c), weight, sums[v]);
      vector.Store(FusedMulAdd(DF(), of_query[v], weight, vector.Load(gradient + c)), gradient + c);
    }
  }
  PEERAGE_UNROLL for (int v = 0; v < kVectors; ++v) {
    vector.Store(sums[v], query_gradient + v * kLanes);
  }
}

HWY_INLINE void AddHalf(const KeyGradientsArgs<float>& args, int64_t* rows, const float* weights,
                        const float* query, float* query_gradient) {
  const auto add = [&](auto vectors, const auto& vector) HWY_ATTR {
    constexpr int kVectors = decltype(vectors)::value;
    AddColumns<kVectors>(args, vector, rows, weights, query, query_gradient);
    for (int64_t i = 0; i < args.top_k; ++i) rows[i] += kVectors * kLanes;
    query += kVectors * kLanes;
    query_gradient += kVectors * kLanes;
  };
  int64_t left = args.width;
  for (; left >= 4 * kLanes; left -= 4 * kLanes) {
    add(std::integral_constant<int, 4>(), WholeVector());
  }
  for (; left >= 2 * kLanes; left -= 2 * kLanes) {
    add(std::integral_constant<int, 2>(), WholeVector());
  }
  for (; left >= kLanes; left -= kLanes) add(std::integral_constant<int, 1>(), WholeVector());
  if (left > 0) add(std::integral_constant<int, 1>(), LastVector{left});
}

}  // namespace

void KeyGradientsF32(const KeyGradientsArgs<float>& args) {
  const Divisor n(static_cast<uint32_t>(args.n));
  const bool is_short = args.n <= 65536;  // and ids are below 2^32
  std::vector<int64_t> rows(2 * args.top_k);
  for (int64_t token = 0; token < args.tokens; ++token) {
    const int64_t* ids = args.ids + token * args.pick_stride;
    for (int64_t i = 0; i < args.top_k; ++i) {
      const int64_t first = is_short ? n.Quotient(static_cast<uint32_t>(ids[i])) : ids[i] / args.n;
      rows[i] = 2 * first * args.width;
      rows[args.top_k + i] = (2 * (ids[i] - first * args.n) + 1) * args.width;
    }
    for (int half = 0; half < 2; ++half) {
      AddHalf(args, rows.data() + half * args.top_k,
              args.score_gradients + token * args.pick_stride,
              args.queries[half] + token * args.query_stride,
              args.query_gradients[half] + token * args.query_gradient_stride);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(KeyGradientsF32);

void KeyGradients(const KeyGradientsArgs<float>& args) {
  HWY_DYNAMIC_DISPATCH(KeyGradientsF32)(args);
}

void KeyGradients(const KeyGradientsArgs<double>& args) {
  for (int64_t token = 0; token < args.tokens; ++token) {
    const int64_t* ids = args.ids + token * args.pick_stride;
    const double* weights = args.score_gradients + token * args.pick_stride;
    for (int half = 0; half < 2; ++half) {
      const double* query = args.queries[half] + token * args.query_stride;
      double* query_gradient = args.query_gradients[half] + token * args.query_gradient_stride;
      std::fill_n(query_gradient, args.width, 0.0);
      for (int64_t i = 0; i < args.top_k; ++i) {
        const int64_t key = half == 0 ? ids[i] / args.n : ids[i] % args.n;
        const int64_t row = (2 * key + half) * args.width;
        for (int64_t c = 0; c < args.width; ++c) {
          query_gradient[c] += weights[i] * args.sub_keys[row + c];
          args.sub_key_gradients[row + c] += weights[i] * query[c];
        }
      }
    }
  }
}

}  // namespace peerage::kernels
#endif
