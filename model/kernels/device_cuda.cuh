// The only file with inline PTX: what kernels need beyond C++, in the instructions of sm_80.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace peerage::kernels::cuda {

inline constexpr unsigned kWarp = 0xffffffff;

// ---- bf16 in 16-byte pieces
struct Eight {
  float v[8];
};
__device__ __forceinline__ float LowFloat(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float HighFloat(uint32_t pair) {
  return __uint_as_float(pair & 0xffff0000);
}
__device__ __forceinline__ Eight Unpack(uint4 p) {
  return {{LowFloat(p.x), HighFloat(p.x), LowFloat(p.y), HighFloat(p.y), LowFloat(p.z),
           HighFloat(p.z), LowFloat(p.w), HighFloat(p.w)}};
}
__device__ __forceinline__ uint32_t PackPair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ __forceinline__ uint16_t ToBf16(float x) {
  return static_cast<uint16_t>(PackPair(x, 0.0f));
}
__device__ __forceinline__ float FromBf16(uint16_t x) { return __uint_as_float(uint32_t{x} << 16); }

// 16 bytes that are read once: not kept in L1.
__device__ __forceinline__ uint4 LoadOnce(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

__device__ __forceinline__ uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Wide stores, spelled out: nvcc splits an assignment through a float4 pointer when it cannot prove
// the alignment, which costs bank conflicts (seen in the counters).
__device__ __forceinline__ void StoreShared4(float* shared, float a, float b, float c, float d) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(SharedAddress(shared)), "f"(a),
               "f"(b), "f"(c), "f"(d)
               : "memory");
}
__device__ __forceinline__ void StoreShared2(float* shared, float a, float b) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(SharedAddress(shared)), "f"(a), "f"(b)
               : "memory");
}

__device__ __forceinline__ void StoreGlobal4(float* global, float a, float b, float c, float d) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(global), "f"(a), "f"(b), "f"(c),
               "f"(d)
               : "memory");
}

__device__ __forceinline__ void StoreGlobal2(void* global, uint32_t a, uint32_t b) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(global), "r"(a), "r"(b) : "memory");
}

// ---- asynchronous copies into shared memory
__device__ __forceinline__ void CopyAsync(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(shared)), "l"(global)
               : "memory");
}
// Zeros where there is nothing to copy; `global` is not read then.
__device__ __forceinline__ void CopyAsyncOrZero(void* shared, const void* global, bool exists) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(shared)),
               "l"(global), "r"(exists ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kStillRunning>
__device__ __forceinline__ void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kStillRunning) : "memory");
}

// ---- tensor cores: c[16][8] += a[16][16] b[16][8], a and b bf16
__device__ __forceinline__ void LoadMatrix4(uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(shared)));
}
__device__ __forceinline__ void LoadMatrix2(uint32_t (&r)[2], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(SharedAddress(shared)));
}
// Transposes each of the four: rows of b lie where columns are wanted.
__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(shared)));
}
__device__ __forceinline__ void MultiplyAdd(float (&c)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ---- sums in one order, whatever the grid
__device__ __forceinline__ float WarpSum(float x) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) x += __shfl_xor_sync(kWarp, x, m);
  return x;
}
__device__ __forceinline__ float WarpMax(float x) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) x = fmaxf(x, __shfl_xor_sync(kWarp, x, m));
  return x;
}
// Of a block of kThreads; the same in every thread. `scratch` holds kThreads / 32 floats.
template <int kThreads>
__device__ __forceinline__ float BlockSum(float x, float* scratch) {
  x = WarpSum(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) sum += scratch[w];
  __syncthreads();
  return sum;
}

// ---- order-preserving keys: a larger float has a larger key; NaN has 0, below all
__device__ __forceinline__ uint32_t OrderedKey(float x) {
  const uint32_t u = __float_as_uint(x);
  return x != x ? 0 : u ^ (static_cast<uint32_t>(static_cast<int>(u) >> 31) | 0x80000000u);
}
__device__ __forceinline__ float FromOrderedKey(uint32_t k) {
  return __uint_as_float(k & 0x80000000u ? k ^ 0x80000000u : ~k);
}
// Higher key first, then lower id.
__device__ __forceinline__ uint64_t RankedKey(uint32_t key, uint32_t id) {
  return uint64_t{key} << 32 | ~id;
}
__device__ __forceinline__ uint32_t KeyOf(uint64_t ranked) {
  return static_cast<uint32_t>(ranked >> 32);
}
__device__ __forceinline__ uint32_t IdOf(uint64_t ranked) { return ~static_cast<uint32_t>(ranked); }

// Before a launch with dynamic shared memory: more than 48 KiB, the kernel's own included, must be
// asked for. What is asked for is always all that every device has, so that neither another thread
// nor another launch can lower it.
template <class... P>
cudaError_t AllowShared(void (*kernel)(P...), size_t bytes) {
  constexpr size_t kMostShared = size_t{99} << 10;  // sm_86, 89 and 120
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
  if (error != cudaSuccess) return error;
  if (bytes <= static_cast<size_t>(attributes.maxDynamicSharedSizeBytes)) return cudaSuccess;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(kMostShared - attributes.sharedSizeBytes));
}

template <class... P, class... A>
cudaError_t LaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                         cudaStream_t stream, A... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
}

}  // namespace peerage::kernels::cuda
