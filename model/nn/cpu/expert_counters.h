#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/numeric/int128.h"
#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "model/kernels/expert_counting.h"
#include "model/kernels/router_figures.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/cpu/storage.h"

namespace peerage::nn::cpu {

// The experts that a step's tokens picked in one layer, and the final weights.
struct PickBuffer {
  uint32_t* ids = nullptr;   // [tokens][heads][top_k]; kNoExpert comes last in its head
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

  // Counts what the layer wrote. Exact: threads take disjoint experts. `record_bytes` are what an
  // expert that was picked had read for it, once however many tokens picked it.
  void Count(kernels::ThreadPool& pool, int expert_layer, int tokens, size_t record_bytes = 0);

  // Takes in how sure the layer's router was, of one token in kTokensPerSample. To be called once a
  // step, before Count.
  using RouterFiguresOf =
      absl::FunctionRef<kernels::RouterFigures(int token, int head, int thread)>;
  void Observe(kernels::ThreadPool& pool, int expert_layer, int tokens, RouterFiguresOf figures);

  // The picks of all layers in a step of so many tokens; none without `trace`. Valid until the next
  // step.
  absl::Span<const ExpertPicks> Picks(int tokens);

  // LanguageModel::ReadUsage.
  UsageTotals Read(int expert_layer, absl::Span<ExpertCount> counts) const;
  // LanguageModel::ReadSubKeys.
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) const;
  void Clear();

 private:
  // What one thread counted beside the counters.
  struct Share {
    kernels::SpilledCounts spilled;
    absl::uint128 squared_scores = 0;
    uint64_t step_distinct = 0;
  };
  struct Layer {
    ExpertLayer shape;
    PickBuffer picks;
    kernels::ExpertCounter* counters = nullptr;  // [num_experts]; null when nothing is counted
    uint32_t step = 0;                           // the last one, as counters hold it
    size_t record_bytes = 0;                     // of an expert
    UsageTotals totals;                          // without those of the shares
    std::vector<Share> shares;                   // by thread
    uint64_t* sub_keys = nullptr;                // [heads][2 halves][num_sub_keys]
  };

  // The first token of a step that is a sample; every kTokensPerSample-th after it is one, too.
  static int FirstSample(const Layer& layer);
  static void CountSubKeys(Layer& layer, int tokens);
  static void BeginStep(Layer& layer);

  const Options options_;
  std::vector<Layer> layers_;
  std::vector<ExpertPicks> reported_;
  std::vector<kernels::RouterFigures> samples_;  // room for those of a step
};

}  // namespace peerage::nn::cpu
