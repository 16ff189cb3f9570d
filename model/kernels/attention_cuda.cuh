// What the attention kernels share: which rows a block works on, and how partial softmaxes become
// one. Their bits must agree whichever kernel, grid or order of work computes them, so products
// that feed sums are rounded explicitly: the compiler would fuse some here and not there.
#pragma once

#include <cfloat>

#include "model/kernels/attention_cuda.h"
#include "model/kernels/device_cuda.cuh"

namespace peerage::kernels::cuda {

inline constexpr int kSplitBlocks = kSplitTokens / kBlockTokens;

// bf16 KV, and widths that tensor cores take: decided by shape and types alone, for the two kernels
// round differently.
bool HasAttentionTiles(const AttentionShape& shape, DeviceFloat kv_type);
cudaError_t AttendTiles(const AttentionArgs& args, cudaStream_t stream);
// Every other shape, on CUDA cores.
cudaError_t AttendRows(const AttentionArgs& args, cudaStream_t stream);

// Blocks of a grid that share the rows of one item and KV head, `tile_rows` at once. Items tell
// their rows to the device alone: this is a guess from their mean, and blocks take turns.
inline int RowBlocks(const AttentionArgs& args, int tile_rows) {
  const int group = args.shape.heads / args.shape.kv_heads;
  const int64_t rows = (int64_t{args.count} * group + args.num_items - 1) / args.num_items;
  const int64_t most = (int64_t{kAttentionItemTokens} * group + tile_rows - 1) / tile_rows;
  const int64_t blocks = (rows + tile_rows - 1) / tile_rows;
  return static_cast<int>(blocks < 1 ? 1 : blocks > most ? most : blocks);
}
inline dim3 AttentionGrid(const AttentionArgs& args, int row_blocks) {
  return dim3(args.num_items, args.shape.kv_heads * row_blocks, args.splits > 0 ? args.splits : 1);
}

// Scores times this are exponents of 2.
__device__ __forceinline__ float ScaleOfExponents(const AttentionShape& shape) {
  return shape.scale * 1.4426950408889634f;
}

// The rows of one item for one KV head: pairs of a token and a head of the group, tokens outside.
struct AttentionRows {
  AttentionItem item;
  int heads, group, first_head;

  __device__ __forceinline__ AttentionRows(const AttentionArgs& args, int kv_head)
      : item(args.items[blockIdx.x]),
        heads(args.shape.heads),
        group(args.shape.heads / args.shape.kv_heads),
        first_head(kv_head * group) {}

  __device__ __forceinline__ int count() const { return item.tokens * group; }
  __device__ __forceinline__ int Position(int row) const { return item.position + row / group; }
  // Of the row's head in head_gates, partials and out.
  __device__ __forceinline__ size_t Index(int row) const {
    return size_t(item.token + row / group) * heads + first_head + row % group;
  }
  __device__ __forceinline__ const float* Query(const AttentionArgs& args, int row) const {
    return args.q + size_t(item.token + row / group) * args.q_stride +
           size_t(first_head + row % group) * args.shape.head_dim;
  }
  // Whether the row is there, and its gate is open.
  __device__ __forceinline__ bool IsLive(const AttentionArgs& args, int row) const {
    return row < count() && (args.head_gates == nullptr || args.head_gates[Index(row)] != 0);
  }
  // Whether one of `rows` rows from `first` is; the same in every lane. All lanes must call.
  __device__ __forceinline__ bool IsAnyLive(const AttentionArgs& args, int first, int rows) const {
    bool live = false;
    for (int i = threadIdx.x % 32; i < rows; i += 32) live |= IsLive(args, first + i);
    return __any_sync(kWarp, live);
  }
};

// Blocks [first, last] of a sequence that a block of threads looks at: those up to `position`, of
// its own split where splits run side by side. None when first > last.
struct BlockRange {
  int first, last;

  __device__ __forceinline__ BlockRange(const AttentionArgs& args, int position)
      : first(0), last(position / kBlockTokens) {
    if (args.splits == 0) return;
    first = blockIdx.z * kSplitBlocks;
    last = min(last, first + kSplitBlocks - 1);
  }
  __device__ __forceinline__ bool EndsSplit(int block) const {
    return block == last || block % kSplitBlocks == kSplitBlocks - 1;
  }
};

// Of one row over some positions: the largest exponent and the sum of powers relative to it. Sums
// of values are kept beside it, likewise relative.
struct Softmax {
  float maximum, sum;
};
inline constexpr Softmax kEmptySoftmax = {-INFINITY, 0};

// What sums relative to `from` are multiplied with to be relative to `to`, which is not less. The
// first case also spares rows that have seen nothing the NaN of -inf - -inf.
__device__ __forceinline__ float Rebase(float from, float to) {
  return from == to ? 1.0f : exp2f(from - to);
}

// 2^(exponent - maximum); hidden positions have exponent -inf.
__device__ __forceinline__ float Power(float exponent, float maximum) {
  return exponent == -INFINITY ? 0.0f : exp2f(exponent - maximum);
}

// Adds the next split to those before it: both the loop over splits and the merge of splits that
// ran side by side are made of this. What a row has not seen changes nothing.
struct MergeFactors {
  float all, part;

  // Of the maximum so far, and of the next split's.
  __device__ __forceinline__ MergeFactors(float before, float next) {
    const float maximum = fmaxf(before, next);
    all = Rebase(before, maximum);
    part = Rebase(next, maximum);
  }
  __device__ __forceinline__ explicit MergeFactors(float2 factors)
      : all(factors.x), part(factors.y) {}

  // Of sums, of values or powers.
  __device__ __forceinline__ float Merge(float sum, float next) const {
    return fmaf(next, part, __fmul_rn(sum, all));
  }
};
__device__ __forceinline__ MergeFactors MergeSplit(Softmax& all, const Softmax& split) {
  const MergeFactors factors(all.maximum, split.maximum);
  all.maximum = fmaxf(all.maximum, split.maximum);
  all.sum = factors.Merge(all.sum, split.sum);
  return factors;
}

// A row's factor of its sums of values: its gate times one over the sum of powers.
__device__ __forceinline__ float OutputFactor(const AttentionArgs& args, size_t index,
                                              float sum_of_powers) {
  const float gate = args.head_gates == nullptr ? 1.0f : args.head_gates[index];
  return __fmul_rn(__frcp_rn(sum_of_powers), gate);
}
// Adding zero makes one zero of two: tiles that a row shares with later rows may turn -0 to 0.
// Likewise what is beyond f32 becomes NaN.
__device__ __forceinline__ float Output(float values, float factor) {
  const float y = __fadd_rn(__fmul_rn(values, factor), 0.0f);
  return fabsf(y) <= FLT_MAX ? y : NAN;
}
__device__ __forceinline__ void StoreOutput(const AttentionArgs& args, size_t at, float y) {
  if (args.out_type == DeviceFloat::kF32) {
    static_cast<float*>(args.out)[at] = y;
  } else {
    static_cast<uint16_t*>(args.out)[at] = ToBf16(y);
  }
}
__device__ __forceinline__ void StoreOutputPair(const AttentionArgs& args, size_t at, float low,
                                                float high) {
  if (args.out_type == DeviceFloat::kF32) {
    StoreGlobal2(static_cast<float*>(args.out) + at, __float_as_uint(low), __float_as_uint(high));
  } else {
    *reinterpret_cast<uint32_t*>(static_cast<uint16_t*>(args.out) + at) = PackPair(low, high);
  }
}

// Partials: first the softmaxes [count][heads][splits] of two floats, then the sums of values
// [count][heads][splits][head_dim].
struct Partials {
  float2* softmaxes;
  float* values;
  int splits, head_dim;

  __device__ __forceinline__ explicit Partials(const AttentionArgs& args)
      : softmaxes(reinterpret_cast<float2*>(args.partials)),
        values(args.partials + size_t{2} * args.count * args.shape.heads * args.splits),
        splits(args.splits),
        head_dim(args.shape.head_dim) {}

  __device__ __forceinline__ void Store(size_t index, int split, const Softmax& softmax) const {
    softmaxes[index * splits + split] = make_float2(softmax.maximum, softmax.sum);
  }
  __device__ __forceinline__ Softmax Load(size_t index, int split) const {
    const float2 pair = softmaxes[index * splits + split];
    return {pair.x, pair.y};
  }
  __device__ __forceinline__ float* Values(size_t index, int split) const {
    return values + (index * splits + split) * head_dim;
  }
};

}  // namespace peerage::kernels::cuda
