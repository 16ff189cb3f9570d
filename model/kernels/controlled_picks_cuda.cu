#include <algorithm>

#include "model/kernels/controlled_picks_cuda.cuh"
#include "model/kernels/controlled_picks_cuda.h"
#include "model/kernels/largest_cuda.cuh"
#include "model/kernels/pick_weights_cuda.cuh"
#include "model/kernels/sub_key_scores_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr size_t kMostScratch = size_t{8} << 20;  // unless one token needs more

size_t BytesOfToken(const ProductKeyShape& shape) {
  return size_t(shape.heads) * 2 * shape.num_sub_keys * 2 * sizeof(uint32_t);
}

int TokensOfPass(const ProductKeyShape& shape, int count) {
  return std::min(count, std::max(1, static_cast<int>(kMostScratch / BytesOfToken(shape))));
}

// All scores of the tokens that are controlled, as score keys. Grid as SubKeyListKernel's.
template <KeySource kSource>
__global__ void __launch_bounds__(kListThreads, 2)
    SubKeyScoreKernel(SelectPass pass, uint32_t* scores) {
  extern __shared__ __align__(16) unsigned char shared[];
  auto* keys = reinterpret_cast<uint32_t*>(shared);
  const ScoreTile tile(pass);
  const int lane = threadIdx.x % 32, n = pass.args.shape.num_sub_keys;
  const uint32_t used = __ballot_sync(kWarp, lane < kRows && tile.IsUsed(pass, lane));
  if (used == 0) return;  // the whole block

  ComputeScores<kSource>(pass, tile, shared + kRows * tile.stride * sizeof(uint32_t), keys);
  for (int row = threadIdx.x / 32; row < kRows; row += kListWarps) {
    if ((used >> row & 1) == 0) continue;
    uint32_t* to = scores + (tile.Row(row) * 2 + tile.Side()) * n + tile.first_key;
    for (int i = lane; i < tile.num_keys; i += 32) to[i] = keys[row * tile.stride + i];
  }
}

struct Room {
  LargestRoom largest;
  float sums[kMaxTopK];    // of the picks, biased
  uint32_t ids[kMaxTopK];  // of the head's first
};

// The best that are left, in room.sums and room.ids; how many there are. A lower bound of their
// sums leaves few pairs to look at. It is one that enough pairs reach if not too many of them are
// masked; it falls for as long as they are.
__device__ int PickBest(const ControlledHead& head, int wanted, Room& room) {
  for (int corner = head.FirstCorner(wanted);; corner *= 2) {
    const uint32_t least = head.LeastSum(corner);
    Largest largest(room.largest, wanted);
    head.OfferPairs(least, largest);
    head.OfferBiased(least, largest);
    const int found = largest.Sort();
    if (found < wanted && least != 0) continue;
    for (int i = threadIdx.x % 32; i < found; i += 32) {
      room.sums[i] = FromOrderedKey(KeyOf(largest[i]));
      room.ids[i] = IdOf(largest[i]);
    }
    __syncwarp();
    return found;
  }
}

// What the request gives, in room; how many there are, up to the first kNoExpert.
__device__ int TakeForced(const ControlledHead& head, const uint32_t* forced, int k, Room& room) {
  int found = k;
  for (int i = threadIdx.x % 32; i < k; i += 32) {
    if (forced[i] == kNoExpert) {
      found = min(found, i);
      continue;
    }
    room.ids[i] = forced[i] - head.first_id();
    room.sums[i] = head.Sum(room.ids[i]);
  }
  __syncwarp();
  return __reduce_min_sync(kWarp, found);
}

// Of `found` picks in room. Biases count when they are in the sums.
__device__ void WritePicks(const ControlledHead& head, const ControlledPass& pass, int found,
                           bool biased, const Room& room) {
  const ProductKeyShape& shape = pass.select.args.shape;
  const size_t out = size_t(blockIdx.x) * shape.top_k;
  uint32_t best = 0;
  for (int i = threadIdx.x % 32; i < found; i += 32) best = max(best, ScoreKey(room.sums[i]));
  best = __reduce_max_sync(kWarp, best);
  float first_log_sum = 0, second_log_sum = 0, raise = 0;
  if (shape.score == RouterScore::kJointSoftmax) {
    first_log_sum = head.LogSumExp(0);
    second_log_sum = head.LogSumExp(1);
    if (biased) raise = head.RaiseOfBiases(first_log_sum + second_log_sum, room.sums, found);
  }
  const auto joint_of = [&](uint32_t expert) {
    const float moved = biased ? head.BiasOf(expert) - raise : 0;
    return expf(head.Score(0, expert) - first_log_sum + moved) *
           expf(head.Score(1, expert) - second_log_sum);
  };
  const auto weight_of = [&](int pick) {
    return WeightOf(shape.score, room.sums[pick], FromOrderedKey(best),
                    [&] { return joint_of(room.ids[pick]); });
  };
  WeighPicks(shape.score, found, weight_of, [&](int pick, float weight) {
    pass.select.args.ids[out + pick] = head.first_id() + room.ids[pick];
    pass.select.args.weights[out + pick] = weight;
  });
  for (int pick = found + threadIdx.x % 32; pick < shape.top_k; pick += 32) {
    pass.select.args.ids[out + pick] = kNoExpert;
    pass.select.args.weights[out + pick] = 0;
  }
}

__device__ void CopyForced(const uint32_t* from_ids, const float* from_weights, int k,
                           uint32_t* ids, float* weights) {
  for (int i = threadIdx.x % 32; i < k; i += 32) {
    ids[i] = from_ids[i];
    weights[i] = from_weights[i];
  }
}

// Grid (token and head), a warp each. So few blocks a multiprocessor leave it registers enough.
__global__ void __launch_bounds__(32, 8) ControlPicksKernel(ControlledPass pass) {
  __shared__ Room room;
  const SelectExpertsArgs& args = pass.select.args;
  const int heads = args.shape.heads, k = args.shape.top_k, head_index = blockIdx.x % heads;
  const RouterControl* control = ControlOf(pass.controls, blockIdx.x / heads);
  if (control == nullptr) return;
  const ControlledHead head(pass, *control, head_index);
  uint32_t* ids = args.ids + size_t(blockIdx.x) * k;
  if (control->first_forced < 0) {
    if (!head.Concerns(ids)) return;
    const int wanted = control->top_k;
    return WritePicks(head, pass, PickBest(head, wanted, room), /*biased=*/true, room);
  }
  const size_t forced = size_t(head_index) * k;
  const uint32_t* forced_ids = pass.controls.words + control->first_forced + forced;
  const float* weights = ForcedWeightsOf(pass.controls, *control);
  if (weights != nullptr) {
    return CopyForced(forced_ids, weights + forced, k, ids, args.weights + size_t(blockIdx.x) * k);
  }
  const int found = TakeForced(head, forced_ids, k, room);
  WritePicks(head, pass, found, /*biased=*/false, room);
}

// `first` is a token of the step.
ControlledPass PassOf(const ControlPicksArgs& args, int first, int tokens) {
  const ProductKeyShape& shape = args.select.shape;
  ControlledPass pass{.select = {.args = args.select}, .controls = args.controls};
  const int width = shape.sets == 0 ? shape.num_sub_keys : shape.half_width;
  pass.controls.of_token += first;
  pass.select.args.count = tokens;
  pass.select.args.queries += size_t(first) * shape.heads * 2 * width;
  pass.select.args.ids += size_t(first) * shape.heads * shape.top_k;
  pass.select.args.weights += size_t(first) * shape.heads * shape.top_k;
  pass.select.args.positions = pass.controls.of_token;  // others are passed over like padding
  pass.select.chunk_keys = ChunkKeys(shape);
  pass.select.chunks = (shape.num_sub_keys + pass.select.chunk_keys - 1) / pass.select.chunk_keys;
  pass.keys = reinterpret_cast<uint32_t*>(args.scratch);
  pass.lists = pass.keys + size_t(tokens) * shape.heads * 2 * shape.num_sub_keys;
  return pass;
}

}  // namespace

size_t ControlScratchBytes(const ProductKeyShape& shape, int count) {
  return TokensOfPass(shape, count) * BytesOfToken(shape);
}

cudaError_t ControlPicks(const ControlPicksArgs& args, cudaStream_t stream) {
  if (args.controls.empty()) return cudaSuccess;
  const ProductKeyShape& shape = args.select.shape;
  const int tokens_of_pass = TokensOfPass(shape, args.select.count);
  for (int first = args.controls.first; first < args.controls.end; first += tokens_of_pass) {
    const int tokens = std::min(tokens_of_pass, args.controls.end - first);
    const ControlledPass pass = PassOf(args, first, tokens);
    cudaError_t error = WithKeySource(pass.select.args, [&]<KeySource kSource>() {
      return LaunchOnTiles<kSource>(SubKeyScoreKernel<kSource>, pass.select, 0, stream, pass.keys);
    });
    if (error == cudaSuccess) {
      error = LaunchKernel(ControlPicksKernel, tokens * shape.heads, 32, 0, stream, pass);
    }
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace peerage::kernels::cuda
