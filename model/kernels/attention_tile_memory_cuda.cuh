// What tiles of attention keep in shared memory: their queries and two blocks of keys and values,
// of which one arrives while the other is worked on.
#pragma once

#include <climits>

#include "model/kernels/attention_cuda.cuh"

namespace peerage::kernels::cuda {

inline constexpr int kTileThreads = 128;
inline constexpr int kTileWarps = kTileThreads / 32;

template <int kDim, int kRowWarps>
struct TileMemory {
  static constexpr int kColumnWarps = kTileWarps / kRowWarps;  // warps that share 16 rows
  static constexpr int kRows = 16 * kRowWarps;
  // An odd number of 16-byte pieces, so that 8 rows of a matrix lie in all banks.
  static constexpr int kStride = kDim + 8;
  static constexpr int kScoreStride = kBlockTokens + 8;  // likewise for pairs of floats

  uint16_t queries[kRows][kStride];
  uint16_t keys[2][kBlockTokens][kStride];
  uint16_t values[2][kBlockTokens][kStride];
  float scores[kColumnWarps == 1 ? 1 : kRowWarps][16][kScoreStride];
  // Of each column, then of all of a block: the first position with a value that is not finite,
  // among those that not every row sees.
  int broken[kDim + 1];

  // Rows that are not live are zeros: they cost nothing beyond what their tile costs.
  __device__ __forceinline__ void LoadQueries(const AttentionArgs& args, const AttentionRows& rows,
                                              int first) {
    constexpr int kFours = kDim / 4;
    for (int i = threadIdx.x; i < kRows * kFours; i += kTileThreads) {
      const int row = i / kFours, column = i % kFours * 4;
      float4 q = {0, 0, 0, 0};
      if (rows.IsLive(args, first + row)) {
        q = *reinterpret_cast<const float4*>(rows.Query(args, first + row) + column);
      }
      StoreShared2(reinterpret_cast<float*>(&queries[row][column]),
                   __uint_as_float(PackPair(q.x, q.y)), __uint_as_float(PackPair(q.z, q.w)));
    }
  }

  // Begins to copy the first `seen` positions of a block; beyond are zeros.
  __device__ __forceinline__ void Fetch(const uint16_t* from_keys, const uint16_t* from_values,
                                        int seen, int stage) {
    constexpr int kPieces = kDim / 8;
    for (int i = threadIdx.x; i < kBlockTokens * kPieces; i += kTileThreads) {
      const int slot = i / kPieces, column = i % kPieces * 8;
      uint16_t* key = &keys[stage][slot][column];
      uint16_t* value = &values[stage][slot][column];
      if (slot < seen) {
        CopyAsync(key, from_keys + size_t(i) * 8);
        CopyAsync(value, from_values + size_t(i) * 8);
      } else {
        StoreShared4(reinterpret_cast<float*>(key), 0, 0, 0, 0);
        StoreShared4(reinterpret_cast<float*>(value), 0, 0, 0, 0);
      }
    }
  }

  __device__ __forceinline__ void ClearBroken() {
    for (int i = threadIdx.x; i <= kDim; i += kTileThreads) broken[i] = INT_MAX;
  }

  // A multiplication adds hidden values, too, times zero: where they aren't finite, that would make
  // NaN of rows that do not see them. Those in slots [begin, end) of the block from `start` become
  // zeros, and `broken` keeps where they were. Returns whether there are any; the same in all
  // threads, all of which must call.
  __device__ __forceinline__ bool HideBroken(int stage, int start, int begin, int end) {
    if (threadIdx.x == 0) broken[kDim] = INT_MAX;
    __syncthreads();
    for (int i = threadIdx.x; i < (end - begin) * kDim; i += kTileThreads) {
      const int slot = begin + i / kDim, column = i % kDim;
      uint16_t& value = values[stage][slot][column];
      if ((value & 0x7f80) != 0x7f80) continue;
      value = 0;
      atomicMin(&broken[column], start + slot);
      atomicMin(&broken[kDim], start + slot);
    }
    __syncthreads();
    return broken[kDim] != INT_MAX;
  }
};

}  // namespace peerage::kernels::cuda
