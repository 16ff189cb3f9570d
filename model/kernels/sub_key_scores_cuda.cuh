// Scores of a tile of queries' halves against a chunk of sub-keys, in shared memory: from direct
// keys, by fused multiply-adds, or on tensor cores.
#pragma once

#include "model/kernels/product_key_lists_cuda.cuh"
#include "model/kernels/warp_select_cuda.cuh"

namespace peerage::kernels::cuda {

inline constexpr int kListThreads = 256;
inline constexpr int kListWarps = kListThreads / 32;
inline constexpr int kRows = 16;                  // queries of a block: the height of an mma tile
inline constexpr int kTileKeys = 8 * kListWarps;  // 8 a warp: the width of one

enum class KeySource { kDirect, kMultiplyAdd, kTensorCores };

// What a block works at: 16 queries that share a set of sub-keys, one chunk of it.
struct ScoreTile {
  __device__ explicit ScoreTile(const SelectPass& pass)
      : heads(pass.args.shape.heads),
        heads_differ(pass.args.shape.sets > 2),
        set(blockIdx.z),
        first_row(blockIdx.x * kRows),
        first_key(blockIdx.y * pass.chunk_keys),
        num_keys(min(pass.chunk_keys, pass.args.shape.num_sub_keys - first_key)),
        stride(pass.chunk_keys + 8) {}

  __device__ int Side() const { return set % 2; }
  // Of all (token, head).
  __device__ size_t Row(int row) const {
    return heads_differ ? size_t(first_row + row) * heads + set / 2 : first_row + row;
  }
  __device__ bool IsUsed(const SelectPass& pass, int row) const {
    const int token = heads_differ ? first_row + row : (first_row + row) / heads;
    return token < pass.args.count && pass.args.positions[token] >= 0;
  }
  __device__ const float* Query(const SelectPass& pass, int row, int width) const {
    return pass.args.queries + (Row(row) * 2 + Side()) * width;
  }

  int heads;
  bool heads_differ;
  int set;
  int first_row;
  int first_key;
  int num_keys;
  int stride;  // of rows of score keys: their wide stores meet no bank twice
};

// ---- direct keys: the scores are there
__device__ inline void CopyScores(const SelectPass& pass, const ScoreTile& tile, uint32_t* keys) {
  for (int row = threadIdx.x / 32; row < kRows; row += kListWarps) {
    if (!tile.IsUsed(pass, row)) continue;
    const float* scores = tile.Query(pass, row, pass.args.shape.num_sub_keys) + tile.first_key;
    for (int i = threadIdx.x % 32; i < tile.num_keys; i += 32) {
      keys[row * tile.stride + i] = ScoreKey(scores[i]);
    }
  }
}

// ---- fused multiply-adds in order of the width: the bits of the CPU
inline constexpr int kSlabDepth = 32;
inline constexpr int kSlabStride =
    kSlabDepth + 4;  // 16-byte reads of neighbouring rows: no conflict

struct MultiplyAddRoom {
  float keys[kTileKeys][kSlabStride];
  float queries[kRows][kSlabStride];
};

__device__ __forceinline__ float SubKeyElement(const SelectPass& pass, size_t at) {
  return pass.args.sub_key_type == DeviceFloat::kF32
             ? static_cast<const float*>(pass.args.sub_keys)[at]
             : FromBf16(static_cast<const uint16_t*>(pass.args.sub_keys)[at]);
}

// Zeros beyond keys, width and tokens.
__device__ inline void StageSlab(const SelectPass& pass, const ScoreTile& tile, int first_key,
                                 int depth, MultiplyAddRoom& room) {
  const ProductKeyShape& shape = pass.args.shape;
  const int column = threadIdx.x % kSlabDepth;
  const bool inside = depth + column < shape.half_width;
  for (int i = threadIdx.x / kSlabDepth; i < kTileKeys; i += kListThreads / kSlabDepth) {
    const int key = tile.first_key + first_key + i;
    const size_t at = (size_t(tile.set) * shape.num_sub_keys + key) * shape.half_width + depth;
    const bool real = inside && first_key + i < tile.num_keys;
    room.keys[i][column] = real ? SubKeyElement(pass, at + column) : 0;
  }
  for (int i = threadIdx.x / kSlabDepth; i < kRows; i += kListThreads / kSlabDepth) {
    const bool real = inside && tile.IsUsed(pass, i);
    room.queries[i][column] = real ? tile.Query(pass, i, shape.half_width)[depth + column] : 0;
  }
}

__device__ inline void MultiplyAddScores(const SelectPass& pass, const ScoreTile& tile,
                                         MultiplyAddRoom& room, uint32_t* keys) {
  constexpr int kRowsOfThread = kRows * kTileKeys / kListThreads;
  const int key = threadIdx.x % kTileKeys, row = threadIdx.x / kTileKeys * kRowsOfThread;
  for (int first_key = 0; first_key < tile.num_keys; first_key += kTileKeys) {
    float scores[kRowsOfThread] = {};
    for (int depth = 0; depth < pass.args.shape.half_width; depth += kSlabDepth) {
      StageSlab(pass, tile, first_key, depth, room);
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kSlabDepth; i += 4) {
        const float4 k = *reinterpret_cast<const float4*>(&room.keys[key][i]);
#pragma unroll
        for (int r = 0; r < kRowsOfThread; ++r) {
          const float4 q = *reinterpret_cast<const float4*>(&room.queries[row + r][i]);
          scores[r] = fmaf(k.x, q.x, scores[r]);
          scores[r] = fmaf(k.y, q.y, scores[r]);
          scores[r] = fmaf(k.z, q.z, scores[r]);
          scores[r] = fmaf(k.w, q.w, scores[r]);
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < kRowsOfThread; ++r) {
      keys[(row + r) * tile.stride + first_key + key] = ScoreKey(scores[r]);
    }
  }
}

// ---- tensor cores: a query as three bf16 numbers, whose sum it is to the last bit of f32
inline constexpr int kParts = 3;
inline constexpr int kStageDepth = 128;  // of the sub-keys that are on their way
inline constexpr int kPad = 8;           // keeps ldmatrix off its own banks
inline constexpr int kKeyStride = kStageDepth + kPad;

struct TensorRoom {
  uint16_t* queries;  // [kParts][kRows][half_width + kPad]
  uint16_t* keys;     // [2][kTileKeys][kKeyStride]
};
inline size_t TensorRoomBytes(int half_width) {
  return sizeof(uint16_t) *
         (size_t(kParts) * kRows * (half_width + kPad) + 2 * size_t(kTileKeys) * kKeyStride);
}

__device__ inline void SplitQueries(const SelectPass& pass, const ScoreTile& tile,
                                    const TensorRoom& room) {
  const int width = pass.args.shape.half_width, stride = width + kPad;
  for (int row = threadIdx.x / 32; row < kRows; row += kListWarps) {
    const bool used = tile.IsUsed(pass, row);
    const float2* query = reinterpret_cast<const float2*>(tile.Query(pass, row, width));
    for (int column = threadIdx.x % 32 * 2; column < width; column += 64) {
      float2 q = used ? query[column / 2] : make_float2(0, 0);
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const uint32_t pair = PackPair(q.x, q.y);
        *reinterpret_cast<uint32_t*>(room.queries + (part * kRows + row) * stride + column) = pair;
        // What is not finite is its first part.
        q.x = isfinite(q.x) ? q.x - LowFloat(pair) : 0;
        q.y = isfinite(q.y) ? q.y - HighFloat(pair) : 0;
      }
    }
  }
}

// Sub-keys on their way: [first_key, + kTileKeys) of the chunk, up to kStageDepth of their width.
__device__ __forceinline__ void StageKeys(const SelectPass& pass, const ScoreTile& tile,
                                          int first_key, int depth, uint16_t* keys) {
  constexpr int kPieces = kStageDepth / 8;
  const int n = pass.args.shape.num_sub_keys, width = pass.args.shape.half_width;
  const uint16_t* table =
      static_cast<const uint16_t*>(pass.args.sub_keys) + size_t(tile.set) * n * width + depth;
#pragma unroll
  for (int i = 0; i < kTileKeys * kPieces / kListThreads; ++i) {
    const int row = (i * kListThreads + threadIdx.x) / kPieces;
    const int column = threadIdx.x % kPieces * 8;
    if (depth + column >= width) continue;
    const int key = min(tile.first_key + first_key + row, n - 1);  // behind the last: unused scores
    CopyAsync(keys + row * kKeyStride + column, table + size_t(key) * width + column);
  }
  CommitCopies();
}

// Of a warp's 8 keys with all rows: sums[part] is an mma tile.
__device__ __forceinline__ void MultiplyStage(const TensorRoom& room, const uint16_t* keys,
                                              int depth, int width, float (&sums)[kParts][4]) {
  const int lane = threadIdx.x % 32, stride = width + kPad;
  const uint16_t* key = keys + (threadIdx.x / 32 * 8 + lane % 8) * kKeyStride + lane / 8 % 2 * 8;
  const uint16_t* query = room.queries + lane % 16 * stride + lane / 16 * 8 + depth;
  const int end = min(kStageDepth, width - depth);
  for (int k = 0; k < end; k += 16) {
    uint32_t b[2];
    LoadMatrix2(b, key + k);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      uint32_t a[4];
      LoadMatrix4(a, query + part * kRows * stride + k);
      MultiplyAdd(sums[part], a, b);
    }
  }
}

__device__ __forceinline__ float ScoreKeyBits(float high, float middle, float low) {
  return __uint_as_float(ScoreKey(high + (middle + low)));
}

__device__ __forceinline__ void StoreScores(const ScoreTile& tile, int first_key,
                                            const float (&sums)[kParts][4], uint32_t* keys) {
  const int lane = threadIdx.x % 32;
  const int column = first_key + threadIdx.x / 32 * 8 + lane % 4 * 2;
#pragma unroll
  for (int x = 0; x < 4; x += 2) {
    StoreShared2(reinterpret_cast<float*>(keys + (lane / 4 + x * 4) * tile.stride + column),
                 ScoreKeyBits(sums[0][x], sums[1][x], sums[2][x]),
                 ScoreKeyBits(sums[0][x + 1], sums[1][x + 1], sums[2][x + 1]));
  }
}

// What is staged at once: kTileKeys sub-keys, up to kStageDepth of their width.
struct Stage {
  int first_key = 0;
  int depth = 0;
  int buffer = 0;

  __device__ Stage Next(int width) const {
    const bool last = depth + kStageDepth >= width;
    return {last ? first_key + kTileKeys : first_key, last ? 0 : depth + kStageDepth, 1 - buffer};
  }
};

__device__ inline void TensorScores(const SelectPass& pass, const ScoreTile& tile,
                                    const TensorRoom& room, uint32_t* keys) {
  const int width = pass.args.shape.half_width;
  const auto buffer = [&](const Stage& s) { return room.keys + s.buffer * kTileKeys * kKeyStride; };
  Stage stage;
  StageKeys(pass, tile, stage.first_key, stage.depth, buffer(stage));
  SplitQueries(pass, tile, room);
  float sums[kParts][4] = {};
  while (stage.first_key < tile.num_keys) {
    const Stage next = stage.Next(width);
    if (next.first_key < tile.num_keys) {
      StageKeys(pass, tile, next.first_key, next.depth, buffer(next));
      WaitForCopies<1>();
    } else {
      WaitForCopies<0>();
    }
    __syncthreads();
    MultiplyStage(room, buffer(stage), stage.depth, width, sums);
    if (next.depth == 0) {
      StoreScores(tile, stage.first_key, sums, keys);
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
#pragma unroll
        for (int x = 0; x < 4; ++x) sums[part][x] = 0;
      }
    }
    __syncthreads();
    stage = next;
  }
}

}  // namespace peerage::kernels::cuda
