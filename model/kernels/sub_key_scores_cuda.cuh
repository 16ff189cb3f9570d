// Scores of a tile of queries' halves against a chunk of sub-keys, in shared memory: from direct
// keys, by fused multiply-adds, or on tensor cores.
#pragma once

#include <algorithm>

#include "model/kernels/product_key_lists_cuda.cuh"
#include "model/kernels/warp_select_cuda.cuh"

namespace peerage::kernels::cuda {

inline constexpr int kListThreads = 256;
inline constexpr int kListWarps = kListThreads / 32;
inline constexpr int kRows = 16;  // queries of a block: the height of an mma tile

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
inline constexpr int kSlabKeys = 64;
inline constexpr int kSlabDepth = 32;
inline constexpr int kSlabStride =
    kSlabDepth + 4;  // 16-byte reads of neighbouring rows: no conflict

struct MultiplyAddRoom {
  float keys[kSlabKeys][kSlabStride];
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
  for (int i = threadIdx.x / kSlabDepth; i < kSlabKeys; i += kListThreads / kSlabDepth) {
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
  constexpr int kRowsOfThread = kRows * kSlabKeys / kListThreads;
  const int key = threadIdx.x % kSlabKeys, row = threadIdx.x / kSlabKeys * kRowsOfThread;
  for (int first_key = 0; first_key < tile.num_keys; first_key += kSlabKeys) {
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
inline constexpr int kKeysOfWarp = 16;  // two mma tiles, so that queries are read half as often
inline constexpr int kStageKeys = kKeysOfWarp * kListWarps;
inline constexpr int kStageDepth = 64;
inline constexpr int kPad = 8;  // keeps ldmatrix off its own banks
inline constexpr int kKeyStride = kStageDepth + kPad;

struct TensorRoom {
  uint16_t* queries;  // [kParts][kRows][half_width + kPad]
  uint16_t* keys;     // [2][kStageKeys][kKeyStride]
};
inline size_t TensorRoomBytes(int half_width) {
  return sizeof(uint16_t) *
         (size_t(kParts) * kRows * (half_width + kPad) + 2 * size_t(kStageKeys) * kKeyStride);
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

// What is on its way at once: kStageKeys sub-keys, up to kStageDepth of their width.
struct Stage {
  int first_key = 0;  // in the chunk
  int depth = 0;
  int buffer = 0;

  __device__ Stage Next(int width) const {
    const bool last = depth + kStageDepth >= width;
    return {last ? first_key + kStageKeys : first_key, last ? 0 : depth + kStageDepth, 1 - buffer};
  }
  __device__ uint16_t* Keys(const TensorRoom& room) const {
    return room.keys + buffer * kStageKeys * kKeyStride;
  }
};

// The last sub-key stands for those behind it, whose scores nobody looks at.
__device__ __forceinline__ void StageKeys(const SelectPass& pass, const ScoreTile& tile,
                                          const TensorRoom& room, const Stage& stage) {
  constexpr int kPieces = kStageDepth / 8, kStep = kListThreads / kPieces;
  const int n = pass.args.shape.num_sub_keys, width = pass.args.shape.half_width;
  const int row = threadIdx.x / kPieces, column = threadIdx.x % kPieces * 8;
  if (stage.depth + column < width) {
    const int key = min(tile.first_key + stage.first_key + row, n - 1);
    const uint16_t* from = static_cast<const uint16_t*>(pass.args.sub_keys) +
                           (size_t(tile.set) * n + key) * width + stage.depth + column;
    uint16_t* to = stage.Keys(room) + row * kKeyStride + column;
#pragma unroll
    for (int i = 0; i < kStageKeys; i += kStep) {
      CopyAsync(to + i * kKeyStride, from + int64_t{min(i, n - 1 - key)} * width);
    }
  }
  CommitCopies();
}

// Sums of all rows with a warp's keys, part by part: of two mma tiles.
using PartSums = float[kParts][2][4];

__device__ __forceinline__ void MultiplyStage(const TensorRoom& room, const Stage& stage, int width,
                                              PartSums& sums) {
  const int lane = threadIdx.x % 32, stride = width + kPad;
  const uint16_t* keys = stage.Keys(room) + lane / 8 % 2 * 8 +
                         (threadIdx.x / 32 * kKeysOfWarp + lane / 16 * 8 + lane % 8) * kKeyStride;
  const uint16_t* queries = room.queries + lane % 16 * stride + lane / 16 * 8 + stage.depth;
#pragma unroll
  for (int k = 0; k < kStageDepth; k += 16) {
    if (stage.depth + k >= width) break;
    uint32_t b[4];
    LoadMatrix4(b, keys + k);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      uint32_t a[4];
      LoadMatrix4(a, queries + part * kRows * stride + k);
      MultiplyAdd(sums[part][0], a, {b[0], b[1]});
      MultiplyAdd(sums[part][1], a, {b[2], b[3]});
    }
  }
}

// Stores score keys and begins again with zeros.
__device__ __forceinline__ void TakeScores(const ScoreTile& tile, int first_key, PartSums& sums,
                                           uint32_t* keys) {
  const int lane = threadIdx.x % 32;
  const int column = first_key + threadIdx.x / 32 * kKeysOfWarp + lane % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float scores[4];
#pragma unroll
    for (int x = 0; x < 4; ++x) {
      scores[x] =
          __uint_as_float(ScoreKey(sums[0][half][x] + (sums[1][half][x] + sums[2][half][x])));
#pragma unroll
      for (int part = 0; part < kParts; ++part) sums[part][half][x] = 0;
    }
    uint32_t* to = keys + lane / 4 * tile.stride + column + half * 8;
    StoreShared2(reinterpret_cast<float*>(to), scores[0], scores[1]);
    StoreShared2(reinterpret_cast<float*>(to + 8 * tile.stride), scores[2], scores[3]);
  }
}

__device__ inline void TensorScores(const SelectPass& pass, const ScoreTile& tile,
                                    const TensorRoom& room, uint32_t* keys) {
  const int width = pass.args.shape.half_width;
  Stage stage;
  StageKeys(pass, tile, room, stage);
  SplitQueries(pass, tile, room);
  PartSums sums = {};
  while (stage.first_key < tile.num_keys) {
    const Stage next = stage.Next(width);
    if (next.first_key < tile.num_keys) {
      StageKeys(pass, tile, room, next);
      WaitForCopies<1>();
    } else {
      WaitForCopies<0>();
    }
    __syncthreads();
    MultiplyStage(room, stage, width, sums);
    if (next.depth == 0) TakeScores(tile, stage.first_key, sums, keys);
    __syncthreads();
    stage = next;
  }
}

// ---- the three as one

// A tile's score keys, [kRows][tile.stride] in shared memory, by a whole block. `room` is behind
// them; it is free again afterwards.
template <KeySource kSource>
__device__ __forceinline__ void ComputeScores(const SelectPass& pass, const ScoreTile& tile,
                                              unsigned char* room, uint32_t* keys) {
  if constexpr (kSource == KeySource::kDirect) CopyScores(pass, tile, keys);
  if constexpr (kSource == KeySource::kMultiplyAdd) {
    MultiplyAddScores(pass, tile, *reinterpret_cast<MultiplyAddRoom*>(room), keys);
  }
  if constexpr (kSource == KeySource::kTensorCores) {
    auto* queries = reinterpret_cast<uint16_t*>(room);
    const int stride = pass.args.shape.half_width + kPad;
    TensorScores(pass, tile, {queries, queries + kParts * kRows * stride}, keys);
  }
  __syncthreads();
}

// launch<source>() for where the scores of these arguments come from.
template <typename Launch>
cudaError_t WithKeySource(const SelectExpertsArgs& args, const Launch& launch) {
  constexpr int kMostHalfWidth = 512;  // for the shared memory of a block
  const auto is_aligned = [](const void* p, size_t bytes) {
    return reinterpret_cast<uintptr_t>(p) % bytes == 0;
  };
  if (args.shape.sets == 0) return launch.template operator()<KeySource::kDirect>();
  const bool tensor_cores = args.sub_key_type == DeviceFloat::kBF16 &&
                            args.shape.half_width % 16 == 0 &&
                            args.shape.half_width <= kMostHalfWidth &&
                            is_aligned(args.sub_keys, 16) && is_aligned(args.queries, 8);
  return tensor_cores ? launch.template operator()<KeySource::kTensorCores>()
                      : launch.template operator()<KeySource::kMultiplyAdd>();
}

// Launches a kernel on all tiles: grid (16 queries, chunk, set of sub-keys or half). `room` is what
// it needs itself behind the keys.
template <KeySource kSource, class... P, class... A>
cudaError_t LaunchOnTiles(void (*kernel)(P...), const SelectPass& pass, size_t room,
                          cudaStream_t stream, const A&... args) {
  const ProductKeyShape& shape = pass.args.shape;
  if (kSource == KeySource::kMultiplyAdd) room = std::max(room, sizeof(MultiplyAddRoom));
  if (kSource == KeySource::kTensorCores) room = std::max(room, TensorRoomBytes(shape.half_width));
  const size_t shared = kRows * (pass.chunk_keys + 8) * sizeof(uint32_t) + room;
  if (const cudaError_t error = AllowShared(kernel, shared)) return error;
  const bool heads_differ = shape.sets > 2;
  const int rows = heads_differ ? pass.args.count : pass.args.count * shape.heads;
  const dim3 grid((rows + kRows - 1) / kRows, pass.chunks, heads_differ ? shape.sets : 2);
  return LaunchKernel(kernel, grid, kListThreads, shared, stream, pass, args...);
}

}  // namespace peerage::kernels::cuda
