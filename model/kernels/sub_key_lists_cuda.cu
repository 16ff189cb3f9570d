#include <algorithm>

#include "model/kernels/pick_weights_cuda.cuh"
#include "model/kernels/product_key_lists_cuda.cuh"
#include "model/kernels/sub_key_scores_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

__device__ void ListBest(const SelectPass& pass, const ScoreTile& tile, int row,
                         const uint32_t* keys, uint64_t* room) {
  const size_t list = (tile.Row(row) * 2 + tile.Side()) * pass.chunks + blockIdx.y;
  uint64_t* best = pass.lists + list * pass.listed;
  const int k = min(pass.listed, tile.num_keys);
  for (int i = k + threadIdx.x % 32; i < pass.listed; i += 32) best[i] = 0;
  const auto candidates = [&](int i) { return RankedKey(keys[i], tile.first_key + i); };
  const uint64_t least = tile.num_keys > 32 && k <= 32 ? BoundByLanes(keys, tile.num_keys, k) : 0;
  SelectLargest(candidates, tile.num_keys, k, least, room,
                [&](int place, uint64_t ranked) { best[place] = ranked; });
  if (pass.args.shape.score != RouterScore::kJointSoftmax) return;
  const float sum = SumExponentials(keys, tile.num_keys).sum;
  if (threadIdx.x % 32 == 0) pass.exponentials[list] = sum;
}

// Grid (16 queries, chunk, set of sub-keys or half).
template <KeySource kSource>
__global__ void __launch_bounds__(kListThreads, 2) SubKeyListKernel(SelectPass pass) {
  extern __shared__ __align__(16) unsigned char shared[];
  auto* keys = reinterpret_cast<uint32_t*>(shared);
  const ScoreTile tile(pass);
  // What the scores are computed of, then what the best are sorted in.
  unsigned char* rest = shared + kRows * tile.stride * sizeof(uint32_t);
  const int lane = threadIdx.x % 32;
  const uint32_t used = __ballot_sync(kWarp, lane < kRows && tile.IsUsed(pass, lane));
  if (used == 0) return;  // the whole block

  ComputeScores<kSource>(pass, tile, rest, keys);
  for (int row = threadIdx.x / 32; row < kRows; row += kListWarps) {
    if ((used >> row & 1) == 0) continue;
    ListBest(pass, tile, row, keys + row * tile.stride,
             reinterpret_cast<uint64_t*>(rest) + threadIdx.x / 32 * kSortRoom);
  }
}

}  // namespace

cudaError_t ListSubKeys(const SelectPass& pass, cudaStream_t stream) {
  constexpr size_t kSortBytes = kListWarps * kSortRoom * sizeof(uint64_t);
  return WithKeySource(pass.args, [&]<KeySource kSource>() {
    return LaunchOnTiles<kSource>(SubKeyListKernel<kSource>, pass, kSortBytes, stream);
  });
}

}  // namespace peerage::kernels::cuda
