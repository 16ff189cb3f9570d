#include <algorithm>

#include "model/kernels/product_key_lists_cuda.cuh"
#include "model/kernels/sub_key_scores_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

// Of a row's scores, by a warp, in an order that their number gives.
__device__ float SumExponentials(const uint32_t* keys, int count) {
  uint32_t most = 0;
  for (int i = threadIdx.x % 32; i < count; i += 32) most = max(most, keys[i]);
  const float origin = ExponentialOrigin(FromOrderedKey(__reduce_max_sync(kWarp, most)));
  float sum = 0;
  for (int i = threadIdx.x % 32; i < count; i += 32) sum += expf(FromOrderedKey(keys[i]) - origin);
  return WarpSum(sum);
}

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
  const float sum = SumExponentials(keys, tile.num_keys);
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

  if constexpr (kSource == KeySource::kDirect) CopyScores(pass, tile, keys);
  if constexpr (kSource == KeySource::kMultiplyAdd) {
    MultiplyAddScores(pass, tile, *reinterpret_cast<MultiplyAddRoom*>(rest), keys);
  }
  if constexpr (kSource == KeySource::kTensorCores) {
    auto* queries = reinterpret_cast<uint16_t*>(rest);
    const int stride = pass.args.shape.half_width + kPad;
    TensorScores(pass, tile, {queries, queries + kParts * kRows * stride}, keys);
  }
  __syncthreads();
  for (int row = threadIdx.x / 32; row < kRows; row += kListWarps) {
    if ((used >> row & 1) == 0) continue;
    ListBest(pass, tile, row, keys + row * tile.stride,
             reinterpret_cast<uint64_t*>(rest) + threadIdx.x / 32 * kSortRoom);
  }
}

bool IsAligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

KeySource SourceOf(const SelectExpertsArgs& args) {
  if (args.shape.sets == 0) return KeySource::kDirect;
  constexpr int kMostHalfWidth = 512;  // for the shared memory of a block
  const bool tensor_cores = args.sub_key_type == DeviceFloat::kBF16 &&
                            args.shape.half_width % 16 == 0 &&
                            args.shape.half_width <= kMostHalfWidth &&
                            IsAligned(args.sub_keys, 16) && IsAligned(args.queries, 8);
  return tensor_cores ? KeySource::kTensorCores : KeySource::kMultiplyAdd;
}

template <KeySource kSource>
cudaError_t Launch(const SelectPass& pass, size_t room, cudaStream_t stream) {
  const ProductKeyShape& shape = pass.args.shape;
  constexpr size_t kSortBytes = kListWarps * kSortRoom * sizeof(uint64_t);
  const size_t shared =
      kRows * (pass.chunk_keys + 8) * sizeof(uint32_t) + std::max(room, kSortBytes);
  const auto kernel = SubKeyListKernel<kSource>;
  if (const cudaError_t error = AllowShared(kernel, shared)) return error;
  const bool heads_differ = shape.sets > 2;
  const int rows = heads_differ ? pass.args.count : pass.args.count * shape.heads;
  const dim3 grid((rows + kRows - 1) / kRows, pass.chunks, heads_differ ? shape.sets : 2);
  return LaunchKernel(kernel, grid, kListThreads, shared, stream, pass);
}

}  // namespace

cudaError_t ListSubKeys(const SelectPass& pass, cudaStream_t stream) {
  switch (SourceOf(pass.args)) {
    case KeySource::kDirect:
      return Launch<KeySource::kDirect>(pass, 0, stream);
    case KeySource::kMultiplyAdd:
      return Launch<KeySource::kMultiplyAdd>(pass, sizeof(MultiplyAddRoom), stream);
    case KeySource::kTensorCores:
      return Launch<KeySource::kTensorCores>(pass, TensorRoomBytes(pass.args.shape.half_width),
                                             stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace peerage::kernels::cuda
