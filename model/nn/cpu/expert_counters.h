#pragma once

#include <cstdint>
#include <vector>

#include "absl/numeric/int128.h"
#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "model/kernels/expert_counting.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/cpu/storage.h"

namespace peerage::nn::cpu {

// The experts that a step's tokens picked in one layer, and the final weights.
struct PickBuffer {
  uint32_t* ids = nullptr;   // [tokens][heads][top_k]
  float* weights = nullptr;  // [tokens][heads][top_k]
};

// What a step's tokens pick, layer by layer, and how often every expert was picked since the
// counters were cleared.
class ExpertCounters {
 public:
  struct Options {
    bool count = true;   // keep counters
    bool trace = true;   // keep all picks until the next step, not only until the next block
    int max_tokens = 0;  // of a step
  };
  // `layers` come block by block.
  ExpertCounters(std::vector<ExpertLayer> layers, const Options& options);

  // Takes the counters, which begin as zeros.
  void LayCounters(Arena& arena);
  // Takes room for ids and weights: for all of them when they are reported, else for the most of a
  // transformer block, whose expert layers may pick before any of them is read.
  void LayPicks(Arena& arena);

  // Where an expert layer writes its picks of this step; without `trace`, where the next block
  // will.
  PickBuffer picks(int expert_layer) const { return layers_[expert_layer].picks; }

  // Counts what the layer wrote. Exact: threads take disjoint experts.
  void Count(kernels::ThreadPool& pool, int expert_layer, int tokens);

  // The picks of all layers in a step of so many tokens; none without `trace`. Valid until the next
  // step.
  absl::Span<const ExpertPicks> Picks(int tokens);

  // LanguageModel::ReadUsage.
  UsageTotals Read(int expert_layer, absl::Span<ExpertCount> counts) const;
  void Clear();

 private:
  struct Layer {
    ExpertLayer shape;
    PickBuffer picks;
    uint64_t tokens = 0;
    kernels::ExpertCounter* counters = nullptr;   // [num_experts]; null when nothing is counted
    std::vector<kernels::SpilledCounts> spilled;  // by thread
    std::vector<absl::uint128> squared_scores;    // by thread
  };

  const Options options_;
  std::vector<Layer> layers_;
  std::vector<ExpertPicks> reported_;
};

}  // namespace peerage::nn::cpu
