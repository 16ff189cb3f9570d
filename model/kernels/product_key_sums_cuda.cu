#include "model/kernels/pick_weights_cuda.cuh"
#include "model/kernels/product_key_lists_cuda.cuh"
#include "model/kernels/warp_select_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 64;  // a warp for each half

struct Halves {
  uint64_t lists[2][2][kMaxTopK];  // of each half, and room for the next one
  uint64_t room[kSortRoom];
  uint64_t best[kMaxTopK];  // ranked keys of sums and experts (of the head's first)
  float values[2][kMaxTopK];
  uint32_t ids[2][kMaxTopK];
  float log_sum_exp[2];
  alignas(16) float first_pair[kMaxTopK];  // of each sub-key of the first half: bits of integers
};

// Of a list that has no value twice.
__device__ __forceinline__ int CountLarger(const uint64_t* list, int size, uint64_t value) {
  int low = 0, high = size;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (list[middle] > value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The best of two sorted lists, by a warp. Zeros are no entries.
__device__ void Merge(const uint64_t* a, const uint64_t* b, int size, uint64_t* merged) {
  for (int i = threadIdx.x % 32; i < size; i += 32) merged[i] = 0;
  __syncwarp();
  for (int i = threadIdx.x % 32; i < size; i += 32) {
    const int a_place = i + CountLarger(b, size, a[i]), b_place = i + CountLarger(a, size, b[i]);
    if (a[i] != 0 && a_place < size) merged[a_place] = a[i];
    if (b[i] != 0 && b_place < size) merged[b_place] = b[i];
  }
  __syncwarp();
}

// The half's best of all chunks, in the list that is returned.
__device__ const uint64_t* JoinChunks(const SelectPass& pass, int side,
                                      uint64_t (&lists)[2][kMaxTopK], uint64_t* next) {
  const uint64_t* chunk = pass.lists + (size_t(blockIdx.x) * 2 + side) * pass.chunks * pass.listed;
  const int lane = threadIdx.x % 32;
  for (int i = lane; i < pass.listed; i += 32) lists[0][i] = chunk[i];
  __syncwarp();
  int current = 0;
  for (int c = 1; c < pass.chunks; ++c) {
    chunk += pass.listed;
    if (chunk[0] < lists[current][pass.listed - 1]) continue;
    for (int i = lane; i < pass.listed; i += 32) next[i] = chunk[i];
    __syncwarp();
    Merge(lists[current], next, pass.listed, lists[1 - current]);
    current = 1 - current;
  }
  return lists[current];
}

// Of all the half's scores; chunk by chunk.
__device__ float LogSumExp(const SelectPass& pass, int side, float best) {
  const size_t first = (size_t(blockIdx.x) * 2 + side) * pass.chunks;
  LogSumOfChunks log_sum(best);
  for (int c = threadIdx.x % 32; c < pass.chunks; c += 32) {
    log_sum.Add({.best = FromOrderedKey(KeyOf(pass.lists[(first + c) * pass.listed])),
                 .sum = pass.exponentials[first + c]});
  }
  return log_sum.Value();
}

__device__ __forceinline__ uint64_t RankedSum(const Halves& halves, int n, int i, int j) {
  return RankedKey(ScoreKey(halves.values[0][i] + halves.values[1][j]),
                   halves.ids[0][i] * n + halves.ids[1][j]);
}
__device__ __forceinline__ uint32_t SumKey(const Halves& halves, int i, int j) {
  return ScoreKey(halves.values[0][i] + halves.values[1][j]);
}

// Only pairs (i, j) with (i + 1)(j + 1) <= k can be among the k best of sorted lists: so many with
// a sub-key i of the first half.
__device__ __forceinline__ int PairsWith(const SelectPass& pass, int i) {
  return i < pass.listed ? min(pass.listed, pass.args.shape.top_k / (i + 1)) : 0;
}

__device__ __forceinline__ int FirstPair(const Halves& halves, int i) {
  return __float_as_int(halves.first_pair[i]);
}

// Fills first_pair; returns the number of pairs.
__device__ int LayPairs(const SelectPass& pass, Halves& halves) {
  constexpr int kEach = kMaxTopK / 32;
  const int lane = threadIdx.x % 32;
  int counts[kEach], total = 0;
#pragma unroll
  for (int x = 0; x < kEach; ++x) {
    counts[x] = PairsWith(pass, lane * kEach + x);
    total += counts[x];
  }
  int end = total;
#pragma unroll
  for (int m = 1; m < 32; m <<= 1) {
    const int before = __shfl_up_sync(kWarp, end, m);
    if (lane >= m) end += before;
  }
  static_assert(kEach == 4);
  const int first = end - total, second = first + counts[0], third = second + counts[1];
  StoreShared4(&halves.first_pair[lane * kEach], __int_as_float(first), __int_as_float(second),
               __int_as_float(third), __int_as_float(third + counts[2]));
  __syncwarp();
  return __shfl_sync(kWarp, end, 31);
}

// The largest sum outside the pairs, and one that at least k sums reach: both are at corners.
struct Corners {
  uint32_t outside = 0;
  uint32_t reached = 0;

  __device__ Corners(const SelectPass& pass, const Halves& halves) {
    const int k = pass.args.shape.top_k;
    for (int i = threadIdx.x % 32; i < pass.listed; i += 32) {
      const int beyond = k / (i + 1), last = (k + i) / (i + 1) - 1;
      if (beyond < pass.listed) outside = max(outside, SumKey(halves, i, beyond));
      if (last < pass.listed) reached = max(reached, SumKey(halves, i, last));
    }
    outside = __reduce_max_sync(kWarp, outside);
    reached = __reduce_max_sync(kWarp, reached);
  }
};

__device__ void BestSums(const SelectPass& pass, Halves& halves) {
  const int n = pass.args.shape.num_sub_keys, k = pass.args.shape.top_k, listed = pass.listed;
  const auto keep = [&](int place, uint64_t ranked) { halves.best[place] = ranked; };
  const int pairs = LayPairs(pass, halves);
  const auto pair = [&](int c) {
    int i = 0;  // the last one that begins at c or before
#pragma unroll
    for (int step = kMaxTopK / 2; step > 0; step /= 2) {
      if (FirstPair(halves, i + step) <= c) i += step;
    }
    return RankedSum(halves, n, i, c - FirstPair(halves, i));
  };
  const Corners corners(pass, halves);
  // Infinite scores of both signs have a sum that is no number: larger scores, but not a larger
  // sum.
  const bool sorted = !(halves.values[0][0] > 3.4028235e38f || halves.values[1][0] > 3.4028235e38f);
  if (sorted) {
    SelectLargest(pair, pairs, k, uint64_t{corners.reached} << 32, halves.room, keep);
    // Rounding may make a sum outside equal to the last one, and its expert may be a lower one.
    if (corners.outside < KeyOf(halves.best[k - 1])) return;
  }
  const auto any_pair = [&](int c) { return RankedSum(halves, n, c / listed, c % listed); };
  SelectLargest(any_pair, listed * listed, k, 0, halves.room, keep);
}

__device__ float JointProbability(const SelectPass& pass, const Halves& halves, uint32_t expert) {
  const uint32_t n = pass.args.shape.num_sub_keys;
  const uint32_t sub_keys[2] = {expert / n, expert % n};
  float product = 1;
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    float score = 0;
    for (int i = 0; i < pass.listed; ++i) {
      if (halves.ids[side][i] == sub_keys[side]) score = halves.values[side][i];
    }
    product *= expf(score - halves.log_sum_exp[side]);
  }
  return product;
}

__device__ void WritePicks(const SelectPass& pass, const Halves& halves) {
  const ProductKeyShape& shape = pass.args.shape;
  const size_t out = size_t(blockIdx.x) * shape.top_k;
  const uint32_t first_id = blockIdx.x % shape.heads * shape.head_offset;
  const auto weight_of = [&](int pick) {
    const uint64_t ranked = halves.best[pick];
    return WeightOf(shape.score, FromOrderedKey(KeyOf(ranked)),
                    FromOrderedKey(KeyOf(halves.best[0])),
                    [&] { return JointProbability(pass, halves, IdOf(ranked)); });
  };
  WeighPicks(shape.score, shape.top_k, weight_of, [&](int pick, float weight) {
    pass.args.ids[out + pick] = first_id + IdOf(halves.best[pick]);
    pass.args.weights[out + pick] = weight;
  });
}

__device__ void WritePadding(const SelectPass& pass) {
  const int k = pass.args.shape.top_k;
  for (int pick = threadIdx.x; pick < k; pick += kThreads) {
    pass.args.ids[size_t(blockIdx.x) * k + pick] = kNoExpert;
    pass.args.weights[size_t(blockIdx.x) * k + pick] = 0;
  }
}

// Grid (token and head).
__global__ void __launch_bounds__(kThreads) ProductKeySumKernel(SelectPass pass) {
  __shared__ Halves halves;
  __shared__ uint64_t next[2][kMaxTopK];
  if (pass.args.positions[blockIdx.x / pass.args.shape.heads] < 0) return WritePadding(pass);
  const int side = threadIdx.x / 32;
  const uint64_t* list = JoinChunks(pass, side, halves.lists[side], next[side]);
  for (int i = threadIdx.x % 32; i < pass.listed; i += 32) {
    halves.values[side][i] = FromOrderedKey(KeyOf(list[i]));
    halves.ids[side][i] = IdOf(list[i]);
  }
  __syncwarp();
  if (pass.args.shape.score == RouterScore::kJointSoftmax) {
    const float log_sum_exp = LogSumExp(pass, side, halves.values[side][0]);
    if (threadIdx.x % 32 == 0) halves.log_sum_exp[side] = log_sum_exp;
  }
  __syncthreads();
  if (side != 0) return;
  BestSums(pass, halves);
  WritePicks(pass, halves);
}

}  // namespace

cudaError_t CombineLists(const SelectPass& pass, cudaStream_t stream) {
  return LaunchKernel(ProductKeySumKernel, pass.args.count * pass.args.shape.heads, kThreads, 0,
                      stream, pass);
}

}  // namespace peerage::kernels::cuda
