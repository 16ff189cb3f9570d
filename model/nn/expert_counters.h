#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "model/kernels/expert_counting.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/product_key_router.h"
#include "model/nn/storage.h"

namespace peerage::nn {

// What a step's tokens pick, layer by layer, and how often every expert was picked since the
// counters were cleared.
class ExpertCounters {
 public:
  struct Options {
    bool count = true;   // keep counters
    bool trace = true;   // keep all picks until the next step, not only until the next block
    int max_tokens = 0;  // of a step
  };
  // Of ids and weights: all of them when they are reported, else the most of a transformer block,
  // whose expert layers may pick before any of them is read. `layers` come block by block.
  static size_t PickBytes(absl::Span<const ExpertLayer> layers, const Options& options);
  static absl::StatusOr<ExpertCounters> Make(std::vector<ExpertLayer> layers,
                                             const Options& options);

  // Where an expert layer writes its picks of this step; without `trace`, where the next block
  // will.
  PickBuffer picks(int expert_layer) const { return layers_[expert_layer].picks; }

  // Counts what the layer wrote. Exact: threads take disjoint experts.
  void Count(kernels::ThreadPool& pool, int expert_layer, int tokens);

  // The picks of all layers in a step of so many tokens; none without `trace`. Valid until the next
  // step.
  absl::Span<const ExpertPicks> Picks(int tokens);

  // LanguageModel::ReadUsage.
  uint64_t Read(int expert_layer, absl::Span<ExpertCount> counts) const;
  void Clear();

 private:
  struct Layer {
    ExpertLayer shape;
    PickBuffer picks;
    uint64_t tokens = 0;
    kernels::ExpertCounter* counters = nullptr;   // [num_experts]; null when nothing is counted
    std::vector<kernels::SpilledCounts> spilled;  // by thread
  };

  Storage counts_storage_;
  Storage picks_storage_;
  std::vector<Layer> layers_;
  bool trace_ = false;
  std::vector<ExpertPicks> reported_;
};

}  // namespace peerage::nn
