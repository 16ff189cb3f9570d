// How ControlPicks works: one kernel writes down all scores of the tokens that are controlled, a
// second one chooses anew among all pairs of them.
#pragma once

#include "model/kernels/largest_cuda.cuh"
#include "model/kernels/pick_weights_cuda.cuh"
#include "model/kernels/product_key_lists_cuda.cuh"
#include "model/kernels/router_control_cuda.cuh"
#include "model/kernels/warp_select_cuda.cuh"

namespace peerage::kernels::cuda {

// Some consecutive tokens of a call.
struct ControlledPass {
  SelectPass select;  // positions: those of `controls`; no lists
  RouterControls controls;
  uint32_t* keys = nullptr;   // [count][heads][2][n]: score keys
  uint32_t* lists = nullptr;  // likewise: sub-keys whose pairs are looked at
};

// One head of a token, for the warp that has it. Experts are numbers of the head's own: i * n + j.
class ControlledHead {
 public:
  __device__ ControlledHead(const ControlledPass& pass, const RouterControl& control, int head)
      : controls_(pass.controls),
        control_(control),
        n_(pass.select.args.shape.num_sub_keys),
        top_k_(pass.select.args.shape.top_k),
        chunk_keys_(pass.select.chunk_keys),
        first_id_(head * pass.select.args.shape.head_offset) {
    const size_t row = size_t(blockIdx.x) * 2 * n_;
    keys_ = pass.keys + row;
    lists_ = pass.lists + row;
    const auto id_of = [](const ExpertBias& bias) { return bias.id; };
    const ExpertBias* all = BiasesOf(controls_, control);
    const uint64_t end_id = first_id_ + static_cast<uint64_t>(n_) * n_;
    biases_ = all + LowerBound(all, control.biases, first_id_, id_of);
    num_biases_ = static_cast<int>(all + LowerBound(all, control.biases, end_id, id_of) - biases_);
  }

  __device__ uint32_t first_id() const { return first_id_; }
  __device__ float Score(int half, uint32_t expert) const {
    return FromOrderedKey(keys_[half == 0 ? expert / n_ : n_ + expert % n_]);
  }
  __device__ float Sum(uint32_t expert) const { return Score(0, expert) + Score(1, expert); }
  // 0 where there is none.
  __device__ float BiasOf(uint32_t expert) const {
    const int at = FindBias(expert);
    return at < 0 ? 0 : biases_[at].logit;
  }

  // Whether what is asked may change what was picked of the head.
  __device__ bool Concerns(const uint32_t* ids) const {
    bool masked = false;
    for (int i = threadIdx.x % 32; i < top_k_; i += 32) {
      masked |= IsMasked(controls_, control_, ids[i]);
    }
    return __any_sync(kWarp, masked) || num_biases_ > 0 || control_.top_k < top_k_;
  }

  // A square of so many of each half's best holds `wanted` pairs.
  __device__ int FirstCorner(int wanted) const {
    int corner = 1;
    while (corner * corner < wanted) ++corner;
    return corner;
  }

  // The key of a sum that all pairs of the `corner` best of each half reach; 0, which every sum
  // reaches, where the half has fewer, or where larger scores need not have a larger sum: infinite
  // ones of both signs have one that is no number.
  __device__ uint32_t LeastSum(int corner) const {
    if (corner >= n_) return 0;
    float sum = 0;
    for (int half = 0; half < 2; ++half) {
      if (FromOrderedKey(BestKey(half)) > 3.4028235e38f) return 0;
      sum += FromOrderedKey(CornerKey(half, corner));
    }
    return ScoreKey(sum);
  }

  // Pairs that reach `least`, but for experts that are masked or biased.
  __device__ void OfferPairs(uint32_t least, Largest& largest) const {
    const int rows = ListReaching(0, least), columns = ListReaching(1, least);
    for (int r = 0; r < rows; ++r) {
      const uint32_t i = lists_[r];
      for (int first = 0; first < columns; first += 32) {
        const int column = first + threadIdx.x % 32;
        uint64_t candidate = 0;
        if (column < columns) {
          const uint32_t expert = i * n_ + lists_[n_ + column], key = ScoreKey(Sum(expert));
          const bool is_left = key >= least && FindBias(expert) < 0 &&
                               !IsMasked(controls_, control_, first_id_ + expert);
          if (is_left) candidate = RankedKey(key, expert);
        }
        largest.Offer(candidate);
      }
    }
  }
  __device__ void OfferBiased(uint32_t least, Largest& largest) const {
    for (int first = 0; first < num_biases_; first += 32) {
      const int at = first + threadIdx.x % 32;
      uint64_t candidate = 0;
      if (at < num_biases_ && !IsMasked(controls_, control_, biases_[at].id)) {
        const uint32_t expert = biases_[at].id - first_id_;
        const uint32_t key = ScoreKey(Sum(expert) + biases_[at].logit);
        if (key >= least) candidate = RankedKey(key, expert);
      }
      largest.Offer(candidate);
    }
  }

  // Of all the half's scores, with the bits that it has in SelectExperts.
  __device__ float LogSumExp(int half) const {
    LogSumOfChunks log_sum(FromOrderedKey(BestKey(half)));
    for (int chunk = 0; chunk * chunk_keys_ < n_; ++chunk) {
      const int first = chunk * chunk_keys_;
      const ChunkExponentials sum =
          SumExponentials(keys_ + half * n_ + first, min(chunk_keys_, n_ - first));
      if (chunk % 32 == threadIdx.x % 32) log_sum.Add(sum);
    }
    return log_sum.Value();
  }

  // By what biases raise the logarithm of the sum over all experts' exponentials, which is `all`
  // without them. `sums` are those of the picks: rounding leaves no less than their own.
  __device__ float RaiseOfBiases(float all, const float* sums, int picks) const {
    const int lane = threadIdx.x % 32;
    if (num_biases_ == 0) return 0;
    float most = 0;  // what exponents are taken from
    for (int i = lane; i < num_biases_; i += 32) most = fmaxf(most, biases_[i].logit);
    most = WarpMax(most);
    float before = 0, moved = 0, picked = 0;
    for (int i = lane; i < num_biases_; i += 32) {
      const float log_share = Sum(biases_[i].id - first_id_) - all;
      before += expf(log_share);
      moved += expf(log_share + (biases_[i].logit - most));
    }
    for (int i = lane; i < picks; i += 32) picked += expf(sums[i] - all - most);
    const float others = fmaxf(1 - WarpSum(before), 0) * expf(-most);
    return most + logf(fmaxf(others + WarpSum(moved), WarpSum(picked)));
  }

 private:
  __device__ int FindBias(uint32_t expert) const {
    const uint64_t id = first_id_ + uint64_t{expert};
    const int at = LowerBound(biases_, num_biases_, id, [](const ExpertBias& b) { return b.id; });
    return at < num_biases_ && biases_[at].id == id ? at : -1;
  }

  __device__ uint32_t BestKey(int half) const {
    uint32_t best = 0;
    for (int i = threadIdx.x % 32; i < n_; i += 32) best = max(best, keys_[half * n_ + i]);
    return __reduce_max_sync(kWarp, best);
  }

  // One that `corner` scores of the half reach.
  __device__ uint32_t CornerKey(int half, int corner) const {
    const uint32_t* keys = keys_ + half * n_;
    if (corner <= 32) return KeyOf(BoundByLanes(keys, n_, corner));
    return KeyOf(KthLargest([&](int i) { return RankedKey(keys[i], i); }, n_, corner));
  }

  // Lists the half's sub-keys that reach the sum with some other one; how many there are.
  __device__ int ListReaching(int half, uint32_t least) const {
    const float other = FromOrderedKey(BestKey(1 - half));
    const int lane = threadIdx.x % 32;
    int listed = 0;
    for (int first = 0; first < n_; first += 32) {
      const int i = first + lane;
      const bool reaches =
          i < n_ && ScoreKey(FromOrderedKey(keys_[half * n_ + i]) + other) >= least;
      const uint32_t reaching = __ballot_sync(kWarp, reaches);
      if (reaches) lists_[half * n_ + listed + __popc(reaching & ((1u << lane) - 1))] = i;
      listed += __popc(reaching);
    }
    __syncwarp();
    return listed;
  }

  const RouterControls& controls_;
  const RouterControl& control_;
  int n_, top_k_, chunk_keys_;
  uint32_t first_id_;
  const uint32_t* keys_;
  uint32_t* lists_;
  const ExpertBias* biases_;  // of the head's experts
  int num_biases_;
};

}  // namespace peerage::kernels::cuda
