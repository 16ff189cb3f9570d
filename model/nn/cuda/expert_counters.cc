#include "model/nn/cuda/expert_counters.h"

#include <algorithm>
#include <utility>

#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {
namespace {

using kernels::cuda::DeviceTotals;

RatioCounts RatiosOf(const unsigned long long (&numbers)[RatioCounts::kBounds.size() + 1]) {
  RatioCounts ratios;
  std::copy_n(numbers, ratios.counts.size(), ratios.counts.begin());
  ratios.sum = numbers[ratios.counts.size()];
  return ratios;
}

// Waits; false when the device is lost.
bool Fetch(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream) == cudaSuccess &&
         cudaStreamSynchronize(stream) == cudaSuccess;
}

}  // namespace

ExpertCounters::ExpertCounters(std::vector<ExpertLayer> layers, const Options& options)
    : options_(options) {
  for (ExpertLayer& layer : layers) layers_.push_back({.shape = std::move(layer)});
}

void ExpertCounters::LayCounters(Arena& arena) {
  if (!options_.count) return;
  for (Layer& layer : layers_) {
    layer.counts = arena.TakeArray<ExpertCount>(layer.shape.num_experts);
    layer.last_step = arena.TakeArray<uint32_t>(layer.shape.num_experts);
    layer.sub_keys = arena.TakeArray<uint64_t>(layer.shape.sub_keys_of_heads());
    layer.totals = arena.TakeArray<DeviceTotals>(1);
  }
}

void ExpertCounters::LayPicks(Arena& arena) {
  const size_t start = arena.mark();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool begins_block = i == 0 || layers_[i].shape.layer != layers_[i - 1].shape.layer;
    if (!options_.trace && begins_block) arena.Rewind(start);
    const size_t picks = layers_[i].picks_of(options_.max_tokens);
    layers_[i].picks.ids = arena.TakeArray<uint32_t>(picks);
    layers_[i].picks.weights = arena.TakeArray<float>(picks);
  }
}

void ExpertCounters::LayHostPicks(Arena& arena) {
  if (!options_.trace) return;
  for (Layer& layer : layers_) {
    const size_t picks = layer.picks_of(options_.max_tokens);
    layer.host_picks.ids = arena.TakeArray<uint32_t>(picks);
    layer.host_picks.weights = arena.TakeArray<float>(picks);
  }
}

cudaError_t ExpertCounters::Count(int expert_layer, const int32_t* positions, int tokens,
                                  size_t record_bytes, cudaStream_t stream) {
  Layer& layer = layers_[expert_layer];
  layer.record_bytes = record_bytes;
  const ExpertLayer& shape = layer.shape;
  return kernels::cuda::CountExperts({.ids = layer.picks.ids,
                                      .weights = layer.picks.weights,
                                      .positions = positions,
                                      .count = tokens,
                                      .heads = static_cast<int>(shape.heads),
                                      .top_k = static_cast<int>(shape.top_k),
                                      .counts = layer.counts,
                                      .last_step = layer.last_step,
                                      .totals = layer.totals,
                                      .sub_keys = shape.num_sub_keys > 0 ? layer.sub_keys : nullptr,
                                      .num_sub_keys = shape.num_sub_keys,
                                      .experts_of_set = shape.num_experts / shape.expert_sets},
                                     stream);
}

absl::Status ExpertCounters::FetchPicks(int tokens, cudaStream_t stream) {
  if (!options_.trace) return absl::OkStatus();
  for (const Layer& layer : layers_) {
    const size_t picks = layer.picks_of(tokens);
    RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(layer.host_picks.ids, layer.picks.ids,
                                         picks * sizeof(uint32_t), cudaMemcpyDeviceToHost, stream));
    RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(layer.host_picks.weights, layer.picks.weights,
                                         picks * sizeof(float), cudaMemcpyDeviceToHost, stream));
  }
  return absl::OkStatus();
}

absl::Span<const ExpertPicks> ExpertCounters::Picks(int tokens) {
  reported_.clear();
  if (!options_.trace) return reported_;
  for (const Layer& layer : layers_) {
    const size_t picks = layer.picks_of(tokens);
    reported_.push_back(
        {.ids = {layer.host_picks.ids, picks}, .weights = {layer.host_picks.weights, picks}});
  }
  return reported_;
}

UsageTotals ExpertCounters::Read(int expert_layer, absl::Span<ExpertCount> counts,
                                 cudaStream_t stream) const {
  const Layer& layer = layers_[expert_layer];
  std::fill(counts.begin(), counts.end(), ExpertCount{});
  DeviceTotals totals;
  if (layer.counts == nullptr || !Fetch(&totals, layer.totals, sizeof totals, stream)) return {};
  if (!counts.empty() &&
      !Fetch(counts.data(), layer.counts, counts.size() * sizeof(ExpertCount), stream)) {
    std::fill(counts.begin(), counts.end(), ExpertCount{});
    return {};
  }
  return {.tokens = totals.tokens,
          .squared_scores = absl::MakeUint128(totals.squared_scores[1], totals.squared_scores[0]),
          .step_distinct = totals.step_distinct,
          .bytes_read = totals.step_distinct * layer.record_bytes,
          .kept_mass = RatiosOf(totals.kept_mass),
          .router_entropy = RatiosOf(totals.router_entropy)};
}

void ExpertCounters::ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts,
                                 cudaStream_t stream) const {
  const Layer& layer = layers_[expert_layer];
  std::fill(counts.begin(), counts.end(), 0);
  if (layer.counts == nullptr || counts.empty()) return;
  Fetch(counts.data(), layer.sub_keys, counts.size() * sizeof(uint64_t), stream);
}

void ExpertCounters::Clear(cudaStream_t stream) {
  for (const Layer& layer : layers_) {
    if (layer.counts == nullptr) continue;
    const size_t experts = layer.shape.num_experts;
    cudaMemsetAsync(layer.counts, 0, experts * sizeof(ExpertCount), stream);
    cudaMemsetAsync(layer.last_step, 0, experts * sizeof(uint32_t), stream);
    if (const size_t sub_keys = layer.shape.sub_keys_of_heads(); sub_keys > 0) {
      cudaMemsetAsync(layer.sub_keys, 0, sub_keys * sizeof(uint64_t), stream);
    }
    cudaMemsetAsync(layer.totals, 0, sizeof(DeviceTotals), stream);
  }
}

}  // namespace peerage::nn::cuda
