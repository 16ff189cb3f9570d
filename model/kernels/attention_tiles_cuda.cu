// Attention with a bf16 cache, on tensor cores.
//
// Decode goes this way too, though a tile of 16 rows then has one row a head of the group: were it
// a kernel of its own, a row's bits would depend on how its prompt was chunked. Nothing is lost. A
// position of one KV head is 4 head_dim bytes, which an H100 brings to a multiprocessor in about
// head_dim / 4 cycles; the products of 16 rows with it take head_dim / 32, its way into shared
// memory and out of it twice that.
#include <utility>

#include "model/kernels/attention_tile_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

// Of a multiprocessor. Few rows are decode, which lives by the loads that many blocks have under
// way.
template <int kDim, int kRowWarps>
constexpr int kMinBlocks = kRowWarps > 2 || kDim* kRowWarps > 256 ? 2
                           : kDim* kRowWarps > 128                ? 3
                                                                  : 4;

template <int kDim, int kRowWarps>
__global__ void __launch_bounds__(kTileThreads, kMinBlocks<kDim, kRowWarps>)
    AttendTilesKernel(AttentionArgs args, int row_blocks) {
  using Memory = TileMemory<kDim, kRowWarps>;
  extern __shared__ uint4 shared[];
  const int kv_head = blockIdx.y / row_blocks;
  const AttentionRows rows(args, kv_head);
  const uint16_t* keys =
      static_cast<const uint16_t*>(args.cache.kv) + size_t(kv_head) * kBlockTokens * kDim;
  for (int first = blockIdx.y % row_blocks * Memory::kRows; first < rows.count();
       first += row_blocks * Memory::kRows) {
    AttentionTile<kDim, kRowWarps>{args, rows, *reinterpret_cast<Memory*>(shared), keys, first}
        .Run();
  }
}

template <int kDim, int kRowWarps>
cudaError_t Launch(const AttentionArgs& args, cudaStream_t stream) {
  using Memory = TileMemory<kDim, kRowWarps>;
  const auto kernel = AttendTilesKernel<kDim, kRowWarps>;
  if (const cudaError_t error = AllowShared(kernel, sizeof(Memory))) return error;
  const int row_blocks = RowBlocks(args, Memory::kRows);
  return LaunchKernel(kernel, AttentionGrid(args, row_blocks), kTileThreads, sizeof(Memory), stream,
                      args, row_blocks);
}

// Tiles as high as items are, on average: the bits are the same. Sums of 256 columns of 16 rows are
// more than a warp has registers for.
template <int kDim>
cudaError_t LaunchFor(const AttentionArgs& args, cudaStream_t stream) {
  constexpr int kMostRowWarps = kDim > 128 ? 2 : 4;
  const int sixteens = RowBlocks(args, 16);
  if (sixteens == 1) return Launch<kDim, 1>(args, stream);
  if (sixteens == 2) return Launch<kDim, 2>(args, stream);
  return Launch<kDim, kMostRowWarps>(args, stream);
}

bool IsAligned(const AttentionArgs& args) {
  return reinterpret_cast<uintptr_t>(args.q) % 16 == 0 && args.q_stride % 4 == 0 &&
         reinterpret_cast<uintptr_t>(args.cache.kv) % 16 == 0 && args.cache.block_stride % 8 == 0;
}

using Launcher = cudaError_t (*)(const AttentionArgs&, cudaStream_t);

// Null for widths that have no tiles.
Launcher LauncherOf(int head_dim) {
  static constexpr std::pair<int, Launcher> kLaunchers[] = {
      {16, LaunchFor<16>}, {32, LaunchFor<32>},   {64, LaunchFor<64>},   {80, LaunchFor<80>},
      {96, LaunchFor<96>}, {128, LaunchFor<128>}, {256, LaunchFor<256>},
  };
  for (const auto& [dim, launcher] : kLaunchers) {
    if (dim == head_dim) return launcher;
  }
  return nullptr;
}

}  // namespace

bool HasAttentionTiles(const AttentionShape& shape, DeviceFloat kv_type) {
  return kv_type == DeviceFloat::kBF16 && LauncherOf(shape.head_dim) != nullptr;
}

cudaError_t AttendTiles(const AttentionArgs& args, cudaStream_t stream) {
  return IsAligned(args) ? LauncherOf(args.shape.head_dim)(args, stream) : cudaErrorInvalidValue;
}

}  // namespace peerage::kernels::cuda
