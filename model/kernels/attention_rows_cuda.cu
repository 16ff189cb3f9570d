// Attention on CUDA cores, for every width and type: keys and values pass through shared memory as
// f32, a lane scores one position and sums every 32nd column of the values.
#include "model/kernels/attention_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kRowsOfWarp = 2;
constexpr int kRows = kWarps * kRowsOfWarp;  // of a tile; warps take them in turn
static_assert(kBlockTokens == 32, "a lane takes a position of a block");

// Floats from one position to the next. Lanes read the same column of 32 positions: singly from an
// odd stride, or four columns at once from an odd number of fours, they meet in no bank.
template <bool kWide>
__host__ __device__ constexpr int Stride(int head_dim) {
  return kWide ? (head_dim / 4 | 1) * 4 : head_dim | 1;
}

__device__ __forceinline__ float LoadOne(const float* p) { return *p; }
__device__ __forceinline__ float LoadOne(const uint16_t* p) { return FromBf16(*p); }
__device__ __forceinline__ float4 LoadFour(const float* p) {
  return *reinterpret_cast<const float4*>(p);
}
__device__ __forceinline__ float4 LoadFour(const uint16_t* p) {
  const uint2 pairs = *reinterpret_cast<const uint2*>(p);
  return make_float4(LowFloat(pairs.x), HighFloat(pairs.x), LowFloat(pairs.y), HighFloat(pairs.y));
}

// Rows [rows][head_dim] to shared memory.
template <bool kWide, typename Element>
__device__ __forceinline__ void LoadTile(const Element* from, int rows, int head_dim, float* tile) {
  constexpr int kStep = kWide ? 4 : 1;
  const int pieces = head_dim / kStep;
  for (int i = threadIdx.x; i < rows * pieces; i += kThreads) {
    float* to = tile + i / pieces * Stride<kWide>(head_dim) + i % pieces * kStep;
    if constexpr (kWide) {
      const float4 four = LoadFour(from + size_t(i) * 4);
      StoreShared4(to, four.x, four.y, four.z, four.w);
    } else {
      *to = LoadOne(from + i);
    }
  }
}

// Scores of the lane's position for the rows of the warp. One sum in the order of the columns,
// whether they come singly or by fours.
template <bool kWide>
__device__ __forceinline__ void Score(const float* queries, const float* key, int head_dim,
                                      float (&scores)[kRowsOfWarp]) {
  const int stride = Stride<kWide>(head_dim);
  for (int i = 0; i < head_dim; i += kWide ? 4 : 1) {
    if constexpr (kWide) {
      const float4 k = LoadFour(key + i);
#pragma unroll
      for (int r = 0; r < kRowsOfWarp; ++r) {
        const float4 q = LoadFour(queries + r * kWarps * stride + i);
        scores[r] = fmaf(q.x, k.x, scores[r]);
        scores[r] = fmaf(q.y, k.y, scores[r]);
        scores[r] = fmaf(q.z, k.z, scores[r]);
        scores[r] = fmaf(q.w, k.w, scores[r]);
      }
    } else {
      const float k = key[i];
#pragma unroll
      for (int r = 0; r < kRowsOfWarp; ++r) {
        scores[r] = fmaf(queries[r * kWarps * stride + i], k, scores[r]);
      }
    }
  }
}

// One row of a warp: its softmax and, by lane, its sums of values; of all splits that ended and of
// the one that runs.
template <int kColumns>
struct RowState {
  Softmax all, split;
  float values[kColumns], split_values[kColumns];

  __device__ __forceinline__ void Clear() {
    all = split = kEmptySoftmax;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) values[c] = split_values[c] = 0;
  }

  // Takes the exponents of a block; returns the lane's power.
  __device__ __forceinline__ float AddExponents(float exponent) {
    const float maximum = fmaxf(split.maximum, WarpMax(exponent));
    const float factor = Rebase(split.maximum, maximum);
    const float power = Power(exponent, maximum);
    split.maximum = maximum;
    split.sum = fmaf(split.sum, factor, WarpSum(power));
#pragma unroll
    for (int c = 0; c < kColumns; ++c) split_values[c] = __fmul_rn(split_values[c], factor);
    return power;
  }

  __device__ __forceinline__ void TakeSplit() {
    const MergeFactors factors = MergeSplit(all, split);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      values[c] = factors.Merge(values[c], split_values[c]);
      split_values[c] = 0;
    }
    split = kEmptySoftmax;
  }

  __device__ __forceinline__ void StoreSplit(const AttentionArgs& args, size_t index) const {
    const int lane = threadIdx.x % 32;
    const Partials partials(args);
    float* to = partials.Values(index, blockIdx.z);
    if (lane == 0) partials.Store(index, blockIdx.z, split);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (c * 32 + lane < args.shape.head_dim) to[c * 32 + lane] = split_values[c];
    }
  }

  // A row that is not live gets zeros.
  __device__ __forceinline__ void StoreRow(const AttentionArgs& args, size_t index, bool live) {
    const int head_dim = args.shape.head_dim, lane = threadIdx.x % 32;
    const float factor = live ? OutputFactor(args, index, all.sum) : 0;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (c * 32 + lane >= head_dim) continue;
      StoreOutput(args, index * head_dim + c * 32 + lane, live ? Output(values[c], factor) : 0.0f);
    }
  }
};

// Rows [first, first + kRows) of an item and KV head.
template <typename Element, bool kWide, int kColumns>
struct RowTile {
  const AttentionArgs& args;
  const AttentionRows& rows;
  const int first, kv_head;
  float* const queries;  // shared: [kRows][stride]
  float* const tile;     // shared: [kBlockTokens][stride]
  RowState<kColumns> states[kRowsOfWarp];

  __device__ __forceinline__ int Row(int r) const { return first + r * kWarps + threadIdx.x / 32; }

  __device__ __forceinline__ void LoadQueries() {
    const int head_dim = args.shape.head_dim;
    for (int r = 0; r < kRowsOfWarp; ++r) {
      const bool live = rows.IsLive(args, Row(r));
      const float* q = rows.Query(args, live ? Row(r) : 0);
      float* to = queries + (r * kWarps + threadIdx.x / 32) * Stride<kWide>(head_dim);
      for (int i = threadIdx.x % 32; i < head_dim; i += 32) to[i] = live ? q[i] : 0;
    }
  }

  // `seen` positions of the block that starts at `start`.
  __device__ __forceinline__ void AddBlock(const Element* keys, int start, int seen) {
    const int head_dim = args.shape.head_dim, stride = Stride<kWide>(head_dim);
    const int lane = threadIdx.x % 32;
    __syncthreads();
    LoadTile<kWide>(keys, seen, head_dim, tile);
    __syncthreads();
    float powers[kRowsOfWarp] = {};
    if (lane < seen) {
      Score<kWide>(queries + threadIdx.x / 32 * stride, tile + lane * stride, head_dim, powers);
    }
#pragma unroll
    for (int r = 0; r < kRowsOfWarp; ++r) {
      const bool visible = lane < seen && start + lane <= rows.Position(Row(r));
      powers[r] = states[r].AddExponents(
          visible ? __fmul_rn(powers[r], ScaleOfExponents(args.shape)) : -INFINITY);
    }
    __syncthreads();
    LoadTile<kWide>(keys + size_t(args.shape.kv_heads) * kBlockTokens * head_dim, seen, head_dim,
                    tile);
    __syncthreads();
    for (int j = 0; j < seen; ++j) AddValue(tile + j * stride, start + j, powers);
  }

  // A value that a row may not see is not touched for it, whatever it holds.
  __device__ __forceinline__ void AddValue(const float* value, int position,
                                           const float (&powers)[kRowsOfWarp]) {
    const int lane = threadIdx.x % 32;
    float v[kColumns] = {};
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (c * 32 + lane < args.shape.head_dim) v[c] = value[c * 32 + lane];
    }
#pragma unroll
    for (int r = 0; r < kRowsOfWarp; ++r) {
      const float power = __shfl_sync(kWarp, powers[r], position % kBlockTokens);
      if (position > rows.Position(Row(r))) continue;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        states[r].split_values[c] = fmaf(power, v[c], states[r].split_values[c]);
      }
    }
  }

  __device__ __forceinline__ void EndSplit() {
#pragma unroll
    for (int r = 0; r < kRowsOfWarp; ++r) {
      if (args.splits == 0) {
        states[r].TakeSplit();
      } else if (Row(r) < rows.count()) {
        states[r].StoreSplit(args, rows.Index(Row(r)));
      }
    }
  }

  __device__ __forceinline__ void Run() {
#pragma unroll
    for (int r = 0; r < kRowsOfWarp; ++r) states[r].Clear();
    if (rows.IsAnyLive(args, first, kRows)) Attend();
    if (args.splits != 0) return;
#pragma unroll
    for (int r = 0; r < kRowsOfWarp; ++r) {
      const int row = Row(r);
      if (row < rows.count()) states[r].StoreRow(args, rows.Index(row), rows.IsLive(args, row));
    }
  }

  __device__ __forceinline__ void Attend() {
    const int last = rows.Position(min(first + kRows, rows.count()) - 1);
    const BlockRange range(args, last);
    const int32_t* table = args.block_table + size_t(rows.item.sequence) * args.max_blocks;
    __syncthreads();  // the tile before this one may still be read
    LoadQueries();
    for (int b = range.first; b <= range.last; ++b) {
      const Element* keys = static_cast<const Element*>(args.cache.kv) +
                            table[b] * args.cache.block_stride +
                            size_t(kv_head) * kBlockTokens * args.shape.head_dim;
      AddBlock(keys, b * kBlockTokens, min(last - b * kBlockTokens + 1, kBlockTokens));
      if (range.EndsSplit(b)) EndSplit();
    }
  }
};

template <typename Element, bool kWide, int kColumns>
__global__ void __launch_bounds__(kThreads, 3)
    AttendRowsKernel(AttentionArgs args, int row_blocks) {
  extern __shared__ float4 shared[];
  const int kv_head = blockIdx.y / row_blocks;
  const AttentionRows rows(args, kv_head);
  float* queries = reinterpret_cast<float*>(shared);
  float* tile = queries + kRows * Stride<kWide>(args.shape.head_dim);
  for (int first = blockIdx.y % row_blocks * kRows; first < rows.count();
       first += row_blocks * kRows) {
    RowTile<Element, kWide, kColumns>{args, rows, first, kv_head, queries, tile}.Run();
  }
}

template <typename Element, bool kWide, int kColumns>
cudaError_t Launch(const AttentionArgs& args, cudaStream_t stream) {
  const size_t bytes =
      size_t(kRows + kBlockTokens) * Stride<kWide>(args.shape.head_dim) * sizeof(float);
  const auto kernel = AttendRowsKernel<Element, kWide, kColumns>;
  const int row_blocks = RowBlocks(args, kRows);
  return LaunchKernel(kernel, AttentionGrid(args, row_blocks), kThreads, bytes, stream, args,
                      row_blocks);
}

// Whether four elements lie at a multiple of their size.
template <typename Element>
bool IsWide(const AttentionArgs& args) {
  return args.shape.head_dim % 4 == 0 && args.cache.block_stride % 4 == 0 &&
         reinterpret_cast<uintptr_t>(args.cache.kv) % (4 * sizeof(Element)) == 0;
}

template <typename Element, bool kWide>
cudaError_t LaunchColumns(const AttentionArgs& args, cudaStream_t stream) {
  if (args.shape.head_dim <= 32) return Launch<Element, kWide, 1>(args, stream);
  if (args.shape.head_dim <= 64) return Launch<Element, kWide, 2>(args, stream);
  if (args.shape.head_dim <= 128) return Launch<Element, kWide, 4>(args, stream);
  return Launch<Element, kWide, kMaxHeadDim / 32>(args, stream);
}

template <typename Element>
cudaError_t LaunchFor(const AttentionArgs& args, cudaStream_t stream) {
  return IsWide<Element>(args) ? LaunchColumns<Element, true>(args, stream)
                               : LaunchColumns<Element, false>(args, stream);
}

}  // namespace

cudaError_t AttendRows(const AttentionArgs& args, cudaStream_t stream) {
  return args.cache.type == DeviceFloat::kF32 ? LaunchFor<float>(args, stream)
                                              : LaunchFor<uint16_t>(args, stream);
}

}  // namespace peerage::kernels::cuda
