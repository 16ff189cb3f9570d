// Attention of a tile of rows on tensor cores, queries and probabilities in bf16.
//
// Four warps share blocks of keys and values. Warps take 16 rows each or, where there are fewer
// rows, share 16 of them: each scores some positions, all compute the softmax, each sums some
// columns. A row's sums run in the same order either way.
#pragma once

#include "model/kernels/attention_tile_memory_cuda.cuh"

namespace peerage::kernels::cuda {

template <int kDim, int kRowWarps>
struct AttentionTile {
  using Memory = TileMemory<kDim, kRowWarps>;
  static constexpr int kColumnWarps = Memory::kColumnWarps;
  static constexpr int kSlices = kDim / 16;  // of 16 columns, what a multiplication takes
  static constexpr int kSlicesOfWarp = (kSlices + kColumnWarps - 1) / kColumnWarps;
  static constexpr int kScoreTiles = kBlockTokens / 8;
  static_assert(kDim % 16 == 0);

  const AttentionArgs& args;
  const AttentionRows& rows;
  Memory& memory;
  const uint16_t* const keys;  // of the KV head, in block 0
  const int first;             // row

  const int lane = threadIdx.x % 32;
  const int row_warp = threadIdx.x / 32 / kColumnWarps;
  const int column_warp = threadIdx.x / 32 % kColumnWarps;
  // A multiplication's result gives a lane two neighbours of row lane / 4, then of that + 8.
  const int row = first + row_warp * 16 + lane / 4;
  const int positions[2] = {rows.Position(row), rows.Position(row + 8)};
  const int first_position = rows.Position(first);
  const int last_position = rows.Position(min(first + Memory::kRows, rows.count()) - 1);

  // Of splits that ended and of the one that runs. Sums of values: [slice][8 columns][of the lane].
  Softmax all_softmax[2] = {kEmptySoftmax, kEmptySoftmax};
  Softmax split_softmax[2] = {kEmptySoftmax, kEmptySoftmax};
  float all_sums[kSlicesOfWarp][2][4] = {}, split_sums[kSlicesOfWarp][2][4] = {};

  __device__ __forceinline__ int Slice(int s) const { return column_warp * kSlicesOfWarp + s; }
  __device__ __forceinline__ bool HasSlice(int s) const {
    return kSlices % kColumnWarps == 0 || Slice(s) < kSlices;
  }
  // Of element e of a lane, and the one after it.
  __device__ __forceinline__ int Column(int s, int eight) const {
    return Slice(s) * 16 + eight * 8 + lane % 4 * 2;
  }

  __device__ __forceinline__ void Run() {
    const bool live = rows.IsAnyLive(args, first, Memory::kRows);
    if (live) Attend();
    if (args.splits == 0) StoreRows();
  }

  __device__ __forceinline__ void Attend() {
    const BlockRange range(args, last_position);
    if (range.first > range.last) return;
    const int32_t* table = args.block_table + size_t(rows.item.sequence) * args.max_blocks;
    __syncthreads();  // the tile before this one may still be read
    Fetch(table[range.first], range.first * kBlockTokens, 0);
    CommitCopies();
    int next = range.first < range.last ? table[range.first + 1] : 0;
    memory.LoadQueries(args, rows, first);
    memory.ClearBroken();
    for (int b = range.first; b <= range.last; ++b) {
      const int stage = (b - range.first) % 2;
      if (b < range.last) Fetch(next, (b + 1) * kBlockTokens, 1 - stage);
      CommitCopies();
      if (b + 1 < range.last) next = table[b + 2];
      WaitForCopies<1>();
      __syncthreads();
      AddBlock(b * kBlockTokens, stage);
      if (range.EndsSplit(b)) EndSplit();
      __syncthreads();
    }
  }

  // What rows of the tile see of the block from `start`.
  __device__ __forceinline__ void Fetch(int32_t block, int start, int stage) {
    const uint16_t* from = keys + block * args.cache.block_stride;
    const uint16_t* values = from + size_t(args.shape.kv_heads) * kBlockTokens * kDim;
    memory.Fetch(from, values, last_position + 1 - start, stage);
  }

  __device__ __forceinline__ void AddBlock(int start, int stage) {
    const bool broken = HideBroken(start, stage);
    if (kColumnWarps == 1 && first + row_warp * 16 >= rows.count()) return;
    float scores[kScoreTiles][4];
    uint32_t powers[kScoreTiles][2];
    Score(stage, scores);
    AddExponents(start, scores, powers);
    AddValues(stage, powers);
    if (broken) BreakSums();
  }

  // Values that some rows of the tile see and some do not; the same in all threads.
  __device__ __forceinline__ bool HideBroken(int start, int stage) {
    const int begin = max(first_position + 1 - start, 0);
    const int end = min(last_position + 1 - start, kBlockTokens);
    return begin < end && memory.HideBroken(stage, start, begin, end);
  }
  // Columns that an earlier block broke are NaN already in every row that these sums are of.
  __device__ __forceinline__ void BreakSums() {
#pragma unroll
    for (int s = 0; s < kSlicesOfWarp; ++s) {
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        if (!HasSlice(s)) continue;
        const int position = positions[e / 2 % 2];
        if (memory.broken[Column(s, e / 4) + e % 2] <= position) split_sums[s][e / 4][e % 4] = NAN;
      }
    }
  }

  // Scores of the warp's rows with all positions of the block, some of which other warps compute.
  __device__ __forceinline__ void Score(int stage, float (&scores)[kScoreTiles][4]) {
    constexpr int kOwn = kScoreTiles / kColumnWarps;
    float own[kOwn][4] = {};
    const uint16_t* q = &memory.queries[row_warp * 16 + lane % 16][lane / 16 * 8];
    const uint16_t* k = &memory.keys[stage][column_warp * kOwn * 8 + lane % 8][lane / 8 % 2 * 8];
    if (kOwn > 1) k += lane / 16 * 8 * Memory::kStride;  // the next 8 positions
#pragma unroll
    for (int slice = 0; slice < kSlices; ++slice) {
      uint32_t a[4];
      LoadMatrix4(a, q + slice * 16);
      if constexpr (kOwn == 1) {
        uint32_t b[2];
        LoadMatrix2(b, k + slice * 16);
        MultiplyAdd(own[0], a, b);
      } else {
#pragma unroll
        for (int n = 0; n < kOwn; n += 2) {
          uint32_t b[4];
          LoadMatrix4(b, k + n * 8 * Memory::kStride + slice * 16);
          MultiplyAdd(own[n], a, {b[0], b[1]});
          MultiplyAdd(own[n + 1], a, {b[2], b[3]});
        }
      }
    }
    Exchange(own, scores);
  }

  template <int kOwn>
  __device__ __forceinline__ void Exchange(const float (&own)[kOwn][4],
                                           float (&scores)[kScoreTiles][4]) {
    float* at = &memory.scores[kColumnWarps == 1 ? 0 : row_warp][lane / 4][lane % 4 * 2];
    constexpr int kEight = 8 * Memory::kScoreStride;  // rows
    if constexpr (kColumnWarps > 1) {
#pragma unroll
      for (int n = 0; n < kOwn; ++n) {
        float* to = at + (column_warp * kOwn + n) * 8;
        StoreShared2(to, own[n][0], own[n][1]);
        StoreShared2(to + kEight, own[n][2], own[n][3]);
      }
      __syncthreads();
    }
#pragma unroll
    for (int n = 0; n < kScoreTiles; ++n) {
      if constexpr (kColumnWarps == 1) {
#pragma unroll
        for (int e = 0; e < 4; ++e) scores[n][e] = own[n][e];
      } else {
        const float2 low = *reinterpret_cast<const float2*>(at + n * 8);
        const float2 high = *reinterpret_cast<const float2*>(at + n * 8 + kEight);
        scores[n][0] = low.x, scores[n][1] = low.y, scores[n][2] = high.x, scores[n][3] = high.y;
      }
    }
  }

  // Makes powers, pairs of bf16, of scores. Sums are of what was rounded: so outputs are averages.
  __device__ __forceinline__ void AddExponents(int start, float (&scores)[kScoreTiles][4],
                                               uint32_t (&powers)[kScoreTiles][2]) {
    const float scale = ScaleOfExponents(args.shape);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      Softmax& softmax = split_softmax[h];
      float maximum = -INFINITY;
#pragma unroll
      for (int i = 0; i < kScoreTiles * 2; ++i) {
        float& x = scores[i / 2][h * 2 + i % 2];
        const int position = start + i / 2 * 8 + lane % 4 * 2 + i % 2;
        x = position <= positions[h] ? __fmul_rn(x, scale) : -INFINITY;
        maximum = fmaxf(maximum, x);
      }
      maximum = fmaxf(maximum, __shfl_xor_sync(kWarp, maximum, 1));
      maximum = fmaxf(maximum, __shfl_xor_sync(kWarp, maximum, 2));
      maximum = fmaxf(maximum, softmax.maximum);
      float sum = 0;
#pragma unroll
      for (int n = 0; n < kScoreTiles; ++n) {
        powers[n][h] =
            PackPair(Power(scores[n][h * 2], maximum), Power(scores[n][h * 2 + 1], maximum));
        sum += LowFloat(powers[n][h]) + HighFloat(powers[n][h]);
      }
      sum += __shfl_xor_sync(kWarp, sum, 1);
      sum += __shfl_xor_sync(kWarp, sum, 2);
      const float factor = Rebase(softmax.maximum, maximum);
      softmax.maximum = maximum;
      softmax.sum = fmaf(softmax.sum, factor, sum);
#pragma unroll
      for (int s = 0; s < kSlicesOfWarp * 4; ++s) {
        float& x = split_sums[s / 4][s / 2 % 2][h * 2 + s % 2];
        x = __fmul_rn(x, factor);
      }
    }
  }

  __device__ __forceinline__ void AddValues(int stage, const uint32_t (&powers)[kScoreTiles][2]) {
#pragma unroll
    for (int n = 0; n < kScoreTiles; n += 2) {
      const uint32_t a[4] = {powers[n][0], powers[n][1], powers[n + 1][0], powers[n + 1][1]};
      const uint16_t* v = &memory.values[stage][n * 8 + lane % 16][Slice(0) * 16 + lane / 16 * 8];
#pragma unroll
      for (int s = 0; s < kSlicesOfWarp; ++s) {
        if (!HasSlice(s)) continue;
        uint32_t b[4];
        LoadMatrix4Transposed(b, v + s * 16);
        MultiplyAdd(split_sums[s][0], a, {b[0], b[1]});
        MultiplyAdd(split_sums[s][1], a, {b[2], b[3]});
      }
    }
  }

  __device__ __forceinline__ void EndSplit() {
    if (args.splits != 0) return StoreSplit();
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const MergeFactors factors = MergeSplit(all_softmax[h], split_softmax[h]);
      split_softmax[h] = kEmptySoftmax;
#pragma unroll
      for (int s = 0; s < kSlicesOfWarp * 4; ++s) {
        float& sum = split_sums[s / 4][s / 2 % 2][h * 2 + s % 2];
        float& all = all_sums[s / 4][s / 2 % 2][h * 2 + s % 2];
        all = factors.Merge(all, sum);
        sum = 0;
      }
    }
  }

  __device__ __forceinline__ void StoreSplit() const {
    const Partials partials(args);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (row + h * 8 >= rows.count()) continue;
      const size_t index = rows.Index(row + h * 8);
      if (column_warp == 0 && lane % 4 == 0) {
        partials.Store(index, blockIdx.z, split_softmax[h]);
      }
      float* to = partials.Values(index, blockIdx.z);
#pragma unroll
      for (int s = 0; s < kSlicesOfWarp * 2; ++s) {
        if (!HasSlice(s / 2)) continue;
        const float(&sums)[4] = split_sums[s / 2][s % 2];
        StoreGlobal2(to + Column(s / 2, s % 2), __float_as_uint(sums[h * 2]),
                     __float_as_uint(sums[h * 2 + 1]));
      }
    }
  }

  __device__ __forceinline__ void StoreRows() const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (row + h * 8 >= rows.count()) continue;
      const size_t index = rows.Index(row + h * 8);
      const bool live = rows.IsLive(args, row + h * 8);
      const float factor = live ? OutputFactor(args, index, all_softmax[h].sum) : 0;
#pragma unroll
      for (int s = 0; s < kSlicesOfWarp * 2; ++s) {
        if (!HasSlice(s / 2)) continue;
        const float(&sums)[4] = all_sums[s / 2][s % 2];
        StoreOutputPair(args, index * kDim + Column(s / 2, s % 2),
                        live ? Output(sums[h * 2], factor) : 0.0f,
                        live ? Output(sums[h * 2 + 1], factor) : 0.0f);
      }
    }
  }
};

}  // namespace peerage::kernels::cuda
