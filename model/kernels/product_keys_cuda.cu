#include <algorithm>

#include "model/kernels/product_key_lists_cuda.cuh"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kStageKeys = 128;  // that ListSubKeys scores at once
constexpr int kLargeChunk = 512;
constexpr int kSmallChunk = 128;
constexpr int kRowsOfTile = 16;
constexpr int kBlocksWanted = 256;                 // two for each processor of a large device
constexpr size_t kMostScratch = size_t{32} << 20;  // unless one token needs more
constexpr int kMostHalfWidthOfLargeChunks = 256;   // for the shared memory of a block

int CeilDiv(int a, int b) { return (a + b - 1) / b; }

bool HeadsDiffer(const ProductKeyShape& shape) { return shape.sets > 2; }

int LargeChunk(const ProductKeyShape& shape) {
  return shape.sets > 0 && shape.half_width > kMostHalfWidthOfLargeChunks ? kSmallChunk
                                                                          : kLargeChunk;
}

// The most tokens that leave a device idle when chunks are large. Selection is exact whatever the
// chunks are, but the sums of kJointSoftmax may not depend on the batch.
int TokensOfSmallChunks(const ProductKeyShape& shape) {
  if (shape.score == RouterScore::kJointSoftmax) return 0;
  const int chunks = CeilDiv(shape.num_sub_keys, LargeChunk(shape));
  const int groups = HeadsDiffer(shape) ? shape.heads : 1;
  const int rows = (kBlocksWanted - 1) / (2 * chunks * groups) * kRowsOfTile;
  return HeadsDiffer(shape) ? rows : rows / shape.heads;
}

struct Plan {
  Plan(const ProductKeyShape& shape, int chunk)
      : listed(std::min(shape.num_sub_keys, shape.top_k)),
        chunk_keys(std::min(chunk, CeilDiv(shape.num_sub_keys, kStageKeys) * kStageKeys)),
        chunks(CeilDiv(shape.num_sub_keys, chunk_keys)),
        lists_of_token(size_t(shape.heads) * 2 * chunks) {
    const size_t tokens = kMostScratch / BytesOfToken();
    tokens_of_pass = static_cast<int>(tokens < kRowsOfTile ? std::max<size_t>(tokens, 1)
                                                           : tokens / kRowsOfTile * kRowsOfTile);
  }
  static Plan For(const ProductKeyShape& shape, int count) {
    return Plan(shape, count <= TokensOfSmallChunks(shape) ? kSmallChunk : LargeChunk(shape));
  }

  size_t BytesOfToken() const {
    return lists_of_token * (listed * sizeof(uint64_t) + sizeof(float));
  }
  size_t Bytes(int count) const { return std::min(count, tokens_of_pass) * BytesOfToken(); }

  int listed, chunk_keys, chunks;
  size_t lists_of_token;
  int tokens_of_pass = 0;
};

SelectPass PassOf(const SelectExpertsArgs& args, const Plan& plan, int first) {
  const ProductKeyShape& shape = args.shape;
  SelectPass pass{
      .args = args, .listed = plan.listed, .chunk_keys = plan.chunk_keys, .chunks = plan.chunks};
  const int width = shape.sets == 0 ? shape.num_sub_keys : shape.half_width;
  pass.args.count = std::min(args.count - first, plan.tokens_of_pass);
  pass.args.queries += size_t(first) * shape.heads * 2 * width;
  pass.args.positions += first;
  pass.args.ids += size_t(first) * shape.heads * shape.top_k;
  pass.args.weights += size_t(first) * shape.heads * shape.top_k;
  const size_t lists = pass.args.count * plan.lists_of_token;
  pass.lists = reinterpret_cast<uint64_t*>(args.scratch);
  pass.exponentials = reinterpret_cast<float*>(pass.lists + lists * plan.listed);
  return pass;
}

bool IsValid(const ProductKeyShape& shape) {
  const int64_t n = shape.num_sub_keys;
  return shape.heads > 0 && n > 0 && n <= 65536 && shape.top_k > 0 && shape.top_k <= kMaxTopK &&
         shape.top_k <= n * n && (shape.sets == 0 || shape.half_width > 0) &&
         (shape.sets == 0 || shape.sets == 2 || shape.sets == 2 * shape.heads);
}

}  // namespace

int ChunkKeys(const ProductKeyShape& shape) { return Plan(shape, LargeChunk(shape)).chunk_keys; }

// Grows with the count, so that what is enough for many tokens is enough for few.
size_t SelectScratchBytes(const ProductKeyShape& shape, int count) {
  const int few = std::min(count, TokensOfSmallChunks(shape));
  return std::max(Plan(shape, kSmallChunk).Bytes(few), Plan(shape, LargeChunk(shape)).Bytes(count));
}

cudaError_t SelectExperts(const SelectExpertsArgs& args, cudaStream_t stream) {
  if (!IsValid(args.shape)) return cudaErrorInvalidValue;
  const Plan plan = Plan::For(args.shape, args.count);
  for (int first = 0; first < args.count; first += plan.tokens_of_pass) {
    const SelectPass pass = PassOf(args, plan, first);
    cudaError_t error = ListSubKeys(pass, stream);
    if (error == cudaSuccess) error = CombineLists(pass, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace peerage::kernels::cuda
