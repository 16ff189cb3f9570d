#include "model/kernels/usage_counts_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kKeysOfWarp = 8;  // that it scores, so that all of a device has something to do
constexpr int kKeysOfBlock = kWarps * kKeysOfWarp;

// The token and head that a row of the grid takes in, if it is there.
struct Sample {
  __device__ Sample(const DeviceTotals& totals, const int32_t* positions, int count, int heads,
                    int index)
      : token(FirstSample(totals) + index * static_cast<int>(kTokensPerSample)),
        head((totals.tokens + token) / kTokensPerSample % heads),
        exists(token < count && positions[token] >= 0) {}

  int token;
  size_t head;
  bool exists;
};

struct Half {
  float highest = 0;
  float sum = 0;      // of w = exp(score - highest), of which softmax is w / sum
  float entropy = 0;  // of softmax
  bool finite = true;
};

__device__ float BlockMax(float x, float* scratch) {
  x = WarpMax(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  x = scratch[0];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) x = fmaxf(x, scratch[w]);
  __syncthreads();
  return x;
}

__device__ Half FiguresOfHalf(const float* scores, int n, float* scratch) {
  Half half;
  float highest = -3.4028235e38f, not_finite = 0;
  for (int i = threadIdx.x; i < n; i += kThreads) {
    if (!isfinite(scores[i])) not_finite = 1;
    highest = fmaxf(highest, scores[i]);
  }
  half.finite = BlockMax(not_finite, scratch) == 0;
  half.highest = BlockMax(highest, scratch);
  float sum = 0, moment = 0;
  for (int i = threadIdx.x; i < n; i += kThreads) {
    const float below = scores[i] - half.highest, weight = expf(below);
    sum += weight;
    moment += weight * below;
  }
  half.sum = BlockSum<kThreads>(sum, scratch);
  half.entropy = logf(half.sum) - BlockSum<kThreads>(moment, scratch) / half.sum;
  return half;
}

__device__ void AddFigures(DeviceTotals* totals, float kept_mass, float entropy) {
  if (isnan(kept_mass) || isnan(entropy)) return;
  AddRatio(totals->kept_mass, __saturatef(kept_mass));
  AddRatio(totals->router_entropy, __saturatef(entropy));
}

__device__ __forceinline__ float SubKeyElement(const ObserveRouterArgs& args, size_t at) {
  return args.sub_key_type == DeviceFloat::kF32
             ? static_cast<const float*>(args.sub_keys)[at]
             : FromBf16(static_cast<const uint16_t*>(args.sub_keys)[at]);
}

// Grid (keys, half, sample): all scores of a sample's halves.
__global__ void __launch_bounds__(kThreads) ScoreSampleKernel(ObserveRouterArgs args) {
  const ProductKeyShape& shape = args.shape;
  const Sample sample(*args.totals, args.positions, args.count, shape.heads, blockIdx.z);
  if (!sample.exists) return;
  const int side = blockIdx.y, n = shape.num_sub_keys, width = shape.half_width;
  const size_t set = (shape.sets > 2 ? sample.head * 2 : 0) + side;
  const float* query =
      args.queries + ((size_t(sample.token) * shape.heads + sample.head) * 2 + side) * width;
  const int first = blockIdx.x * kKeysOfBlock + threadIdx.x / 32 * kKeysOfWarp;
  for (int key = first; key < min(first + kKeysOfWarp, n); ++key) {
    float sum = 0;
    for (int i = threadIdx.x % 32; i < width; i += 32) {
      sum = fmaf(SubKeyElement(args, (set * n + key) * width + i), query[i], sum);
    }
    sum = WarpSum(sum);
    if (threadIdx.x % 32 == 0) args.scratch[(size_t{2} * blockIdx.z + side) * n + key] = sum;
  }
}

// Grid (sample): ProductKeyFigures.
__global__ void __launch_bounds__(kThreads) RouterFiguresKernel(ObserveRouterArgs args) {
  __shared__ float scratch[kWarps];
  const ProductKeyShape& shape = args.shape;
  const Sample sample(*args.totals, args.positions, args.count, shape.heads, blockIdx.x);
  if (!sample.exists) return;  // the whole block
  const int n = shape.num_sub_keys;
  const size_t row = size_t(sample.token) * shape.heads + sample.head;
  const float* rows =
      shape.sets == 0 ? args.queries + row * 2 * n : args.scratch + size_t{2} * blockIdx.x * n;
  const float* columns = rows + n;
  const Half first = FiguresOfHalf(rows, n, scratch), second = FiguresOfHalf(columns, n, scratch);
  float kept = 0;
  for (int i = threadIdx.x; i < shape.top_k; i += kThreads) {
    const uint32_t id = args.ids[row * shape.top_k + i];
    const uint32_t expert = id - shape.head_offset * static_cast<uint32_t>(sample.head);
    const uint32_t r = expert / n, c = expert % n;
    if (id != kNoExpert && r < n)
      kept += expf(rows[r] - first.highest) * expf(columns[c] - second.highest);
  }
  kept = BlockSum<kThreads>(kept, scratch);
  if (threadIdx.x != 0 || !first.finite || !second.finite) return;
  const float most = 2 * logf(static_cast<float>(n));
  AddFigures(args.totals, kept / (first.sum * second.sum),
             n > 1 ? (first.entropy + second.entropy) / most : 0);
}

// Grid (sample): GateFigures.
__global__ void __launch_bounds__(kThreads) GateFiguresKernel(ObserveGatesArgs args) {
  __shared__ float scratch[kWarps];
  const Sample sample(*args.totals, args.positions, args.count, 1, blockIdx.x);
  if (!sample.exists) return;  // the whole block
  const float* gates = args.gates + sample.token * args.stride;
  float entropy = 0, kept = 0;
  for (int i = threadIdx.x; i < args.experts; i += kThreads) {
    if (gates[i] != 0) entropy -= gates[i] * logf(gates[i]);
  }
  for (int i = threadIdx.x; i < args.top_k; i += kThreads) {
    const uint32_t id = args.ids[size_t(sample.token) * args.top_k + i];
    if (id < args.experts) kept += gates[id];
  }
  entropy = BlockSum<kThreads>(entropy, scratch);
  kept = BlockSum<kThreads>(kept, scratch);
  if (threadIdx.x != 0) return;
  AddFigures(args.totals, kept,
             args.experts > 1 ? entropy / logf(static_cast<float>(args.experts)) : 0);
}

}  // namespace

size_t ObserveScratchFloats(const ProductKeyShape& shape, int count) {
  return shape.sets == 0 ? 0 : size_t(MostSamples(count)) * 2 * shape.num_sub_keys;
}

cudaError_t ObserveRouter(const ObserveRouterArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const int samples = MostSamples(args.count);
  if (args.shape.sets != 0) {
    const dim3 grid((args.shape.num_sub_keys + kKeysOfBlock - 1) / kKeysOfBlock, 2, samples);
    const cudaError_t error = LaunchKernel(ScoreSampleKernel, grid, kThreads, 0, stream, args);
    if (error != cudaSuccess) return error;
  }
  return LaunchKernel(RouterFiguresKernel, samples, kThreads, 0, stream, args);
}

cudaError_t ObserveGates(const ObserveGatesArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  return LaunchKernel(GateFiguresKernel, MostSamples(args.count), kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
