// y^T = w x^T by mma.sync: 16 outputs by 8 rows by 16 of the depth at a time. Weights stream
// through stages in shared memory, three of them under way while one is multiplied: 24 KiB a block
// and some 100 KiB a processor, several times what HBM's latency asks for.
//
// An output is added up over a part of the depth in the order of K, and parts are added in order.
// In which block, beside which rows and in how many launches this happens changes no bit.
#include <algorithm>

#include "model/kernels/linear_product_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kOutputs = 64;  // of a block, 16 of a warp
constexpr int kDepth = 64;    // of a stage: 128 bytes of a row
constexpr int kStages = 4;
constexpr int kPieces = kDepth / kPiece;        // of a row in a stage
constexpr int kRowsApart = kThreads / kPieces;  // rows that all threads copy at once
constexpr int kMostSplitRows = 64;              // with more rows blocks are many enough
constexpr int kMostRowBlocks = 8;               // further rows are further rounds of the blocks

template <int kRows>
struct Stage {
  uint16_t w[kOutputs * kDepth];
  uint16_t x[kRows * kDepth];
};

// Pieces are spread so that 8 rows of one depth, which a matrix load takes, lie in different banks.
// Rows that are 8 apart spread theirs alike: their pieces are 8 * kDepth elements apart.
__device__ __forceinline__ uint16_t* PieceAt(uint16_t* tile, int row, int piece) {
  return tile + (row * kPieces + (piece ^ row % 8)) * kPiece;
}

// What a thread copies of every stage: one piece of each 16th row.
template <int kRows>
struct StageCopies {
  const uint16_t* w;  // the thread's first row
  const uint16_t* x;
  size_t x_stride;
  int outputs, rows;  // that the block has
  int tile_rows;      // that it multiplies: those behind `rows` are zeros
  int depth;

  __device__ __forceinline__ void Start(Stage<kRows>& stage, int k) const {
    const int piece = threadIdx.x % kPieces, row = threadIdx.x / kPieces;
    k += piece * kPiece;
    const int own_outputs = k < depth ? outputs - row : 0, own_rows = k < depth ? rows - row : 0;
    uint16_t* to = PieceAt(stage.w, row, piece);
    const uint16_t* from = w + k;
#pragma unroll
    for (int r = 0; r < kOutputs; r += kRowsApart) {
      CopyAsyncOrZero(to + r * kDepth, from, r < own_outputs);
      from += size_t{kRowsApart} * depth;
    }
    to = PieceAt(stage.x, row, piece);
    from = x + k;
#pragma unroll
    for (int r = 0; r < kRows; r += kRowsApart) {
      if (r + row < tile_rows) CopyAsyncOrZero(to + r * kDepth, from, r < own_rows);
      from += kRowsApart * x_stride;
    }
  }
};

// A warp's sums: 16 outputs of kRows rows, in fragments of 16 x 8.
template <int kRows>
struct Sums {
  float v[kRows / 8][4] = {};

  // Of the first 8, 16, 32 or 64 rows of the stage. A branch at every 8 would keep loads of
  // matrices from being far ahead of products.
  template <int kTileRows = kRows>
  __device__ __forceinline__ void MultiplyAddStage(Stage<kRows>& stage, int tile_rows) {
    if constexpr (kTileRows > 8) {
      if (tile_rows < kTileRows) return MultiplyAddStage<kTileRows / 2>(stage, tile_rows);
    }
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint16_t* warp_w = stage.w + warp * 16 * kDepth;
#pragma unroll
    for (int piece = 0; piece < kPieces; piece += 4) {  // 32 of the depth
      uint32_t w[2][4];
      LoadMatrix4(w[0], PieceAt(warp_w, lane % 16, piece + lane / 16));
      LoadMatrix4(w[1], PieceAt(warp_w, lane % 16, piece + 2 + lane / 16));
      const uint16_t* from = PieceAt(stage.x, lane % 8, piece + lane / 8);
#pragma unroll
      for (int n = 0; n < kTileRows / 8; ++n) {
        uint32_t x[4];
        LoadMatrix4(x, from + n * 8 * kDepth);
        MultiplyAdd(v[n], w[0], {x[0], x[1]});
        MultiplyAdd(v[n], w[1], {x[2], x[3]});
      }
    }
  }

  // Adds `part` and clears it.
  __device__ __forceinline__ void Take(Sums& part) {
#pragma unroll
    for (int n = 0; n < kRows / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        v[n][i] += part.v[n][i];
        part.v[n][i] = 0;
      }
    }
  }

  // store(row, output, sum) for all that the block has: 8 lanes write a sector of a row.
  template <typename Store>
  __device__ __forceinline__ void ForEach(int rows, int outputs, const Store& store) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int n = 0; n < kRows / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = n * 8 + lane % 4 * 2 + i % 2;
        const int output = warp * 16 + lane / 4 + i / 2 * 8;
        if (row < rows && output < outputs) store(row, output, v[n][i]);
      }
    }
  }
};

// The fewest of 8, 16, 32 and 64 that hold the rows, or all that the kernel has room for.
template <int kMost>
__device__ __forceinline__ int TileRows(int rows) {
  int tile = 8;
  while (tile < kMost && tile < rows) tile *= 2;
  return tile;
}

// The stages [first, end) of the depth, `part_stages` to a part.
template <int kRows>
__device__ __forceinline__ Sums<kRows> SumOfStages(const StageCopies<kRows>& copies, int first,
                                                   int end, int part_stages) {
  extern __shared__ uint4 shared[];
  auto* stages = reinterpret_cast<Stage<kRows>*>(shared);
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (first + s < end) copies.Start(stages[s], (first + s) * kDepth);
    CommitCopies();
  }
  Sums<kRows> sums, part;
  int left = part_stages;  // of the part
  for (int s = 0; first + s < end; ++s) {
    if (left-- == 0) {
      sums.Take(part);
      left = part_stages - 1;
    }
    WaitForCopies<kStages - 2>();
    __syncthreads();  // everyone's copies are there, and nobody multiplies the stage before
    const int next = s + kStages - 1;
    if (first + next < end) copies.Start(stages[next % kStages], (first + next) * kDepth);
    CommitCopies();
    part.MultiplyAddStage(stages[s % kStages], copies.tile_rows);
  }
  sums.Take(part);
  __syncthreads();  // before stages are filled for other rows
  return sums;
}

// Grid: rows, outputs, groups times the parts that have blocks of their own.
template <int kRows>
__global__ void __launch_bounds__(kThreads)
    LinearOnTensorCoresKernel(LinearProduct product, int part_stages, int split_parts) {
  const RowsOfMatrix own = NthActiveGroup(product, blockIdx.z / split_parts);
  const int part = blockIdx.z % split_parts, output = blockIdx.y * kOutputs;
  const int stages = CeilDiv(product.shape.depth, kDepth);
  const int first_stage = part * part_stages;
  const int end_stage = split_parts == 1 ? stages : min(first_stage + part_stages, stages);
  const int row_of_thread = threadIdx.x / kPieces;
  StageCopies<kRows> copies;
  copies.depth = product.shape.depth;
  copies.x_stride = product.x_stride;
  copies.outputs = product.shape.outputs - output;
  copies.w = static_cast<const uint16_t*>(own.w) + size_t(output + row_of_thread) * copies.depth;
  for (int row = own.first + blockIdx.x * kRows; row < own.end; row += gridDim.x * kRows) {
    copies.rows = own.end - row;
    copies.tile_rows = TileRows<kRows>(copies.rows);
    copies.x = static_cast<const uint16_t*>(product.x) + (row + row_of_thread) * product.x_stride;
    const Sums<kRows> sums = SumOfStages(copies, first_stage, end_stage, part_stages);
    sums.ForEach(copies.rows, copies.outputs, [&](int r, int o, float sum) {
      if (split_parts == 1) {
        StoreOutput(product, row + r, output + o, sum);
      } else {
        const size_t scratch_row = size_t(part) * product.rows + row + r;
        product.scratch[scratch_row * product.shape.outputs + output + o] = sum;
      }
    });
  }
}

// Adds what blocks of one part each have left. Grid: outputs, rows.
__global__ void __launch_bounds__(kThreads) AddPartsKernel(LinearProduct product, int parts) {
  const int row = blockIdx.y, output = blockIdx.x * kThreads + threadIdx.x;
  const int rows = product.first_row == nullptr ? product.rows : product.first_row[product.groups];
  if (row >= rows || output >= product.shape.outputs) return;
  const size_t outputs = product.shape.outputs, part_floats = product.rows * outputs;
  const float* from = product.scratch + row * outputs + output;
  float sum = 0;
  for (int part = 0; part < parts; ++part, from += part_floats) sum += *from;
  StoreOutput(product, row, output, sum);
}

// That have blocks of their own.
int SplitPartsOf(const LinearProduct& product) {
  return product.rows > kMostSplitRows ? 1 : DepthPartsOf(product.shape).count;
}

template <int kRows>
cudaError_t LaunchTile(const LinearProduct& product, const DepthParts& parts, int split_parts,
                       cudaStream_t stream) {
  const auto kernel = LinearOnTensorCoresKernel<kRows>;
  constexpr int kBytes = kStages * sizeof(Stage<kRows>);
  if (const cudaError_t error = AllowShared(kernel, kBytes)) return error;
  const dim3 grid(std::min(CeilDiv(product.rows, kRows), kMostRowBlocks),
                  CeilDiv(product.shape.outputs, kOutputs), product.ActiveGroups() * split_parts);
  return LaunchKernel(kernel, grid, kThreads, kBytes, stream, product, parts.depth / kDepth,
                      split_parts);
}

}  // namespace

// As many parts as give a processor of some 132 two blocks, and fill the stages at least once.
DepthParts DepthPartsOf(const LinearShape& shape) {
  constexpr int kBlocks = 264;
  const int stages = std::max(CeilDiv(shape.depth, kDepth), 1);
  const int most = std::max(stages / kStages, 1);
  const int wanted = std::clamp(kBlocks / CeilDiv(shape.outputs, kOutputs), 1, most);
  const int part_stages = CeilDiv(stages, wanted);
  return {.count = CeilDiv(stages, part_stages), .depth = part_stages * kDepth};
}

size_t LinearScratchFloats(const LinearShape& shape, int rows) {
  const int parts = DepthPartsOf(shape).count;
  return parts == 1 ? 0 : size_t(parts) * std::min(rows, kMostSplitRows) * shape.outputs;
}

RowParts PartsOnTensorCores(const LinearProduct& product) {
  const int parts = SplitPartsOf(product);
  if (parts == 1) return {};
  const size_t outputs = product.shape.outputs;
  return {.parts = product.scratch,
          .part_stride = product.rows * outputs,
          .row_stride = outputs,
          .count = parts,
          .bias = product.bias};
}

cudaError_t LinearOnTensorCores(const LinearProduct& product, cudaStream_t stream) {
  const DepthParts parts = DepthPartsOf(product.shape);
  const int split_parts = SplitPartsOf(product);
  const auto launch = product.rows <= 16   ? LaunchTile<16>
                      : product.rows <= 32 ? LaunchTile<32>
                                           : LaunchTile<64>;
  const cudaError_t error = launch(product, parts, split_parts, stream);
  if (error != cudaSuccess || split_parts == 1 || product.y == nullptr) return error;
  const dim3 grid(CeilDiv(product.shape.outputs, kThreads), product.rows);
  return LaunchKernel(AddPartsKernel, grid, kThreads, 0, stream, product, parts.count);
}

}  // namespace peerage::kernels::cuda
