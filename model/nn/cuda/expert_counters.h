#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "model/kernels/expert_counting_cuda.h"
#include "model/nn/arena.h"

namespace peerage::nn::cuda {

// The experts that a step's tokens picked in one layer, and the final weights, on the device or the
// host.
struct PickBuffer {
  uint32_t* ids = nullptr;   // [tokens][heads][top_k]
  float* weights = nullptr;  // [tokens][heads][top_k]
};

// What a step's tokens pick, layer by layer, and how often every expert was picked since the
// counters were cleared: counted on the device, read by copies.
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
  // Takes room for picks: for all of them when they are reported, else for the most of a
  // transformer block, whose expert layers may pick before any of them is read.
  void LayPicks(Arena& arena);
  // The same on the host, for traces.
  void LayHostPicks(Arena& arena);

  PickBuffer picks(int expert_layer) const { return layers_[expert_layer].picks; }

  bool is_counting() const { return options_.count; }
  kernels::cuda::DeviceTotals* totals(int expert_layer) const {
    return layers_[expert_layer].totals;
  }
  // Counts what the layer wrote. `record_bytes` are what an expert that was picked had read for it.
  cudaError_t Count(int expert_layer, const int32_t* positions, int tokens, size_t record_bytes,
                    cudaStream_t stream);

  // Enqueues copies of all layers' picks to the host.
  absl::Status FetchPicks(int tokens, cudaStream_t stream);
  // What was fetched; none without `trace`.
  absl::Span<const ExpertPicks> Picks(int tokens);

  // LanguageModel's. Each waits for the device; zeros when it is lost.
  UsageTotals Read(int expert_layer, absl::Span<ExpertCount> counts, cudaStream_t stream) const;
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts, cudaStream_t stream) const;
  void Clear(cudaStream_t stream);

 private:
  struct Layer {
    ExpertLayer shape;
    PickBuffer picks;
    PickBuffer host_picks;
    ExpertCount* counts = nullptr;  // [num_experts]; null when nothing is counted
    uint32_t* last_step = nullptr;  // [num_experts]
    uint64_t* sub_keys = nullptr;   // [heads][2 halves][num_sub_keys]
    kernels::cuda::DeviceTotals* totals = nullptr;
    size_t record_bytes = 0;  // of an expert

    size_t picks_of(int tokens) const { return size_t{shape.picks_per_token()} * tokens; }
  };

  const Options options_;
  std::vector<Layer> layers_;
  std::vector<ExpertPicks> reported_;
};

}  // namespace peerage::nn::cuda
