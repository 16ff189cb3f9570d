#include "model/kernels/block_sum_cuda.cuh"
#include "model/kernels/elements_cuda.cuh"
#include "model/kernels/mixture_cuda.h"
#include "model/kernels/product_keys_cuda.h"
#include "model/kernels/router_control_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;

constexpr int BlocksFor(int64_t threads) {
  return static_cast<int>((threads + kThreads - 1) / kThreads);
}

// ---- ChooseExperts: a warp has a token; lane l has experts l, l + 32 and so on

// In place. fmaxf passes over NaN, which the sum then spreads to every gate.
__device__ __forceinline__ void SoftmaxOfWarp(float* logits, int count, int lane) {
  float most = -INFINITY;
  for (int i = lane; i < count; i += 32) most = fmaxf(most, logits[i]);
  most = WarpMax(most);
  float sum = 0;
  for (int i = lane; i < count; i += 32) sum += logits[i] = expf(logits[i] - most);
  sum = WarpSum(sum);
  for (int i = lane; i < count; i += 32) logits[i] /= sum;
}

// The best expert that ranks behind `previous` and is not left out, the same in every lane; 0: none
// is left.
template <typename IsLeftOut>
__device__ __forceinline__ uint64_t NextBest(const float* gates, int count, int lane,
                                             uint64_t previous, const IsLeftOut& is_left_out) {
  uint64_t best = 0;
  for (int i = lane; i < count; i += 32) {
    const uint64_t ranked = RankedKey(OrderedKey(gates[i]), i);
    if (ranked < previous && !is_left_out(i)) best = max(best, ranked);
  }
  return WarpMax(best);
}

// A token's places, filled from the first on by a whole warp. Lane l writes places l, l + 32 and so
// on.
class Places {
 public:
  __device__ Places(const ChooseExpertsArgs& args, int token, int lane)
      : ids_(args.ids + size_t(token) * args.top_k),
        weights_(args.weights + size_t(token) * args.top_k),
        top_k_(args.top_k),
        lane_(lane) {}

  __device__ void Add(uint32_t id, float weight) {
    sum_ += weight;
    if (lane_ == filled_ % 32) ids_[filled_] = id, weights_[filled_] = weight;
    ++filled_;
  }
  __device__ void LeaveRest() const {
    for (int k = lane_; k < top_k_; k += 32) {
      if (k >= filled_) ids_[k] = kNoExpert, weights_[k] = 0;
    }
  }
  __device__ void Normalize() const {
    for (int k = lane_; k < filled_; k += 32) weights_[k] /= sum_;
  }

 private:
  uint32_t* ids_;
  float* weights_;
  int top_k_, lane_;
  int filled_ = 0;
  float sum_ = 0;
};

template <typename IsLeftOut>
__device__ __forceinline__ void KeepBest(const float* gates, int experts, int wanted, int lane,
                                         const IsLeftOut& is_left_out, Places& places) {
  uint64_t ranked = ~uint64_t{0};
  for (int k = 0; k < wanted; ++k) {
    ranked = NextBest(gates, experts, lane, ranked, is_left_out);
    if (ranked == 0) return;
    places.Add(IdOf(ranked), FromOrderedKey(KeyOf(ranked)));  // NaN where the gate is NaN
  }
}

// Whether the weights are still to be normalized, if weights are.
__device__ bool ChooseUnderControl(const ChooseExpertsArgs& args, const RouterControl& control,
                                   float* gates, int lane, Places& places) {
  const RouterControls& controls = args.controls;
  const bool forced = control.first_forced >= 0;
  for (int i = lane; !forced && i < control.biases; i += 32) {
    const ExpertBias& bias = BiasesOf(controls, control)[i];
    gates[bias.id] += bias.logit;
  }
  __syncwarp();
  SoftmaxOfWarp(gates, args.experts, lane);
  __syncwarp();
  if (!forced) {
    KeepBest(
        gates, args.experts, control.top_k, lane,
        [&](int id) { return IsMasked(controls, control, id); }, places);
    return true;
  }
  const uint32_t* ids = controls.words + control.first_forced;
  const float* weights = ForcedWeightsOf(controls, control);
  for (int k = 0; k < args.top_k && ids[k] != kNoExpert; ++k) {
    places.Add(ids[k], weights != nullptr ? weights[k] : gates[ids[k]]);
  }
  return weights == nullptr;
}

template <bool kControlled>
__global__ void __launch_bounds__(kThreads) ChooseExpertsKernel(ChooseExpertsArgs args) {
  const int lane = threadIdx.x % 32, token = blockIdx.x * (kThreads / 32) + threadIdx.x / 32;
  if (token >= args.count) return;
  Places places(args, token, lane);
  if (args.positions[token] < 0) return places.LeaveRest();
  float* gates = args.logits + token * args.stride;
  bool normalize = args.normalize;
  const RouterControl* control = nullptr;
  if constexpr (kControlled) control = ControlOf(args.controls, token);
  if (control != nullptr) {
    normalize &= ChooseUnderControl(args, *control, gates, lane, places);
    places.LeaveRest();
  } else {
    SoftmaxOfWarp(gates, args.experts, lane);
    __syncwarp();
    KeepBest(
        gates, args.experts, args.top_k, lane, [](int) { return false; }, places);
  }
  __syncwarp();
  if (normalize) places.Normalize();
}

// ---- rows and gates that only move

__global__ void __launch_bounds__(kThreads) SpreadGatesKernel(SpreadGatesArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= int64_t{args.count} * args.heads) return;
  const int64_t token = i / args.heads;
  const uint32_t expert = args.expert_of_head[i % args.heads];
  float gate = 0;
  for (int64_t pick = token * args.top_k; pick < (token + 1) * args.top_k; ++pick) {
    if (args.ids[pick] == expert) gate = args.weights[pick];
  }
  args.head_gates[i] = gate;
}

__global__ void __launch_bounds__(kThreads) KeepRowsKernel(KeepRowsArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= int64_t{args.count} * args.width) return;
  const int64_t row = i / args.width, column = i % args.width;
  args.to[row * args.to_stride + column] = args.from[row * args.from_stride + column];
}

// A block copies a pick's row, in units that divide it.
template <typename Unit>
__global__ void __launch_bounds__(kThreads) GatherRowsKernel(GatherRowsArgs args, int units) {
  const int pick = blockIdx.x, row = args.row_of_pick[pick];
  if (row < 0) return;
  const Unit* from = static_cast<const Unit*>(args.u) + size_t(pick / args.top_k) * units;
  Unit* to = static_cast<Unit*>(args.gathered) + size_t(row) * units;
  for (int i = threadIdx.x; i < units; i += kThreads) to[i] = from[i];
}

template <typename Unit>
cudaError_t Gather(const GatherRowsArgs& args, size_t row_bytes, cudaStream_t stream) {
  return LaunchKernel(GatherRowsKernel<Unit>, args.count * args.top_k, kThreads, 0, stream, args,
                      row_bytes / sizeof(Unit));
}

}  // namespace

cudaError_t ChooseExperts(const ChooseExpertsArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const auto kernel =
      args.controls.empty() ? ChooseExpertsKernel<false> : ChooseExpertsKernel<true>;
  return LaunchKernel(kernel, BlocksFor(int64_t{args.count} * 32), kThreads, 0, stream, args);
}

cudaError_t SpreadGates(const SpreadGatesArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(int64_t{args.count} * args.heads);
  if (blocks == 0) return cudaSuccess;
  return LaunchKernel(SpreadGatesKernel, blocks, kThreads, 0, stream, args);
}

cudaError_t KeepRows(const KeepRowsArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(int64_t{args.count} * args.width);
  if (blocks == 0) return cudaSuccess;
  return LaunchKernel(KeepRowsKernel, blocks, kThreads, 0, stream, args);
}

cudaError_t GatherRows(const GatherRowsArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const size_t row_bytes = args.width * BytesOf(args.type);
  if (row_bytes % 16 == 0 && IsAligned(args.u) && IsAligned(args.gathered)) {
    return Gather<uint4>(args, row_bytes, stream);
  }
  return args.type == DeviceFloat::kF32 ? Gather<uint32_t>(args, row_bytes, stream)
                                        : Gather<uint16_t>(args, row_bytes, stream);
}

}  // namespace peerage::kernels::cuda
