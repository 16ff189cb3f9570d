#include "model/kernels/attention_cuda.h"
#include "model/kernels/device_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kHeadsAtOnce = kThreads / 32;  // a warp takes one head of one token

template <int kCount>
__device__ __forceinline__ void LoadRun(const float* from, float (&run)[kCount]) {
  if constexpr (kCount % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      run[i] = four.x, run[i + 1] = four.y, run[i + 2] = four.z, run[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) run[i] = from[i];
  }
}

template <int kCount>
__device__ __forceinline__ void StoreRun(float* to, const float (&run)[kCount]) {
  if constexpr (kCount % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      StoreGlobal4(to + i, run[i], run[i + 1], run[i + 2], run[i + 3]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = run[i];
  }
}

template <int kCount>
__device__ __forceinline__ void StoreRun(uint16_t* to, const float (&run)[kCount]) {
  if constexpr (kCount % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      StoreGlobal2(to + i, PackPair(run[i], run[i + 1]), PackPair(run[i + 2], run[i + 3]));
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = ToBf16(run[i]);
  }
}

// kPairs pairs of a head, `first` and the next.
template <int kPairs>
struct Pairs {
  float a[kPairs], b[kPairs];

  __device__ __forceinline__ void Load(const float* head, int first, int half, bool interleaved) {
    if (!interleaved) {
      LoadRun(head + first, a);
      return LoadRun(head + half + first, b);
    }
    float run[2 * kPairs];
    LoadRun(head + 2 * first, run);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) a[i] = run[2 * i], b[i] = run[2 * i + 1];
  }

  template <typename Element>
  __device__ __forceinline__ void Store(Element* head, int first, int half,
                                        bool interleaved) const {
    if (!interleaved) {
      StoreRun(head + first, a);
      return StoreRun(head + half + first, b);
    }
    float run[2 * kPairs];
#pragma unroll
    for (int i = 0; i < kPairs; ++i) run[2 * i] = a[i], run[2 * i + 1] = b[i];
    StoreRun(head + 2 * first, run);
  }

  __device__ __forceinline__ void Turn(const float* cosines, const float* sines) {
    float cosine[kPairs], sine[kPairs];
    LoadRun(cosines, cosine);
    LoadRun(sines, sine);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const float turned = a[i] * cosine[i] - b[i] * sine[i];
      b[i] = b[i] * cosine[i] + a[i] * sine[i];
      a[i] = turned;
    }
  }
};

// Grid (token, kHeadsAtOnce heads). Heads count through queries, keys and values, as they lie.
template <typename Element, int kPairs>
__global__ void __launch_bounds__(kThreads) RotateAndStoreKernel(RotateAndStoreArgs args) {
  const auto [heads, kv_heads, head_dim, scale] = args.shape;
  const int token = blockIdx.x, position = args.positions[token];
  const int head = blockIdx.y * kHeadsAtOnce + threadIdx.x / 32;
  if (position < 0 || head >= heads + 2 * kv_heads) return;
  const int half = head_dim / 2;
  float* x = args.qkv + (size_t(token) * (heads + 2 * kv_heads) + head) * head_dim;
  const float* angles = args.angles + size_t(position) * head_dim;
  // Keys of all heads lie before their values, as they do in qkv.
  Element* stored =
      static_cast<Element*>(args.cache.kv) + size_t(args.blocks[token]) * args.cache.block_stride +
      (size_t(max(head - heads, 0)) * kBlockTokens + position % kBlockTokens) * head_dim;
#pragma unroll 1
  for (int i = threadIdx.x % 32 * kPairs; i < half; i += 32 * kPairs) {
    Pairs<kPairs> pairs;
    pairs.Load(x, i, half, args.interleaved);
    if (head < heads + kv_heads) pairs.Turn(angles + i, angles + half + i);
    if (head < heads) {
      pairs.Store(x, i, half, args.interleaved);
    } else {
      pairs.Store(stored, i, half, args.interleaved);
    }
  }
}

bool IsAligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// Whether runs of four values may be loaded and stored at once.
bool IsWide(const RotateAndStoreArgs& args) {
  return args.shape.head_dim % 8 == 0 && args.cache.block_stride % 4 == 0 && IsAligned(args.qkv) &&
         IsAligned(args.angles) && IsAligned(args.cache.kv);
}

}  // namespace

cudaError_t RotateAndStore(const RotateAndStoreArgs& args, cudaStream_t stream) {
  if (args.shape.head_dim % 2 != 0) return cudaErrorInvalidValue;
  if (args.count == 0) return cudaSuccess;
  const bool wide = IsWide(args);
  const auto kernel =
      args.cache.type == DeviceFloat::kF32
          ? (wide ? RotateAndStoreKernel<float, 4> : RotateAndStoreKernel<float, 1>)
          : (wide ? RotateAndStoreKernel<uint16_t, 4> : RotateAndStoreKernel<uint16_t, 1>);
  const int heads = args.shape.heads + 2 * args.shape.kv_heads;
  const dim3 grid(args.count, (heads + kHeadsAtOnce - 1) / kHeadsAtOnce);
  return LaunchKernel(kernel, grid, kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
