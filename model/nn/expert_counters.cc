#include "model/nn/expert_counters.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "model/kernels/expert_counting.h"

namespace peerage::nn {
namespace {

// Fewer are counted faster than a second thread is woken.
constexpr int64_t kPicksWorthSharing = 512;

size_t BufferBytes(const ExpertLayer& layer, int max_tokens) {
  return Arena::Padded(size_t{layer.picks_per_token()} * max_tokens * sizeof(uint32_t));
}

size_t CountBytes(absl::Span<const ExpertLayer> layers, const ExpertCounters::Options& options) {
  size_t bytes = 0;
  for (const ExpertLayer& layer : layers) {
    if (options.count)
      bytes += Arena::Padded(size_t{layer.num_experts} * sizeof(kernels::ExpertCounter));
  }
  return bytes;
}

// Whether an expert layer is the first of its transformer block.
bool BeginsBlock(absl::Span<const ExpertLayer> layers, size_t i) {
  return i == 0 || layers[i].layer != layers[i - 1].layer;
}

PickBuffer TakePicks(Arena& arena, const ExpertLayer& layer, int max_tokens) {
  const size_t bytes = BufferBytes(layer, max_tokens);
  PickBuffer picks;
  picks.ids = reinterpret_cast<uint32_t*>(arena.Take(bytes));
  picks.weights = reinterpret_cast<float*>(arena.Take(bytes));
  return picks;
}

}  // namespace

size_t ExpertCounters::PickBytes(absl::Span<const ExpertLayer> layers, const Options& options) {
  size_t sum = 0, most = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (!options.trace && BeginsBlock(layers, i)) sum = 0;
    sum += 2 * BufferBytes(layers[i], options.max_tokens);
    most = std::max(most, sum);
  }
  return most;
}

absl::StatusOr<ExpertCounters> ExpertCounters::Make(std::vector<ExpertLayer> layers,
                                                    const Options& options) {
  ExpertCounters counters;
  ASSIGN_OR_RETURN(counters.counts_storage_, Allocate(CountBytes(layers, options), Pages::kHuge));
  ASSIGN_OR_RETURN(counters.picks_storage_, Allocate(PickBytes(layers, options), Pages::kNormal));
  Arena counts(counters.counts_storage_), picks(counters.picks_storage_);
  for (size_t i = 0; i < layers.size(); ++i) {
    if (!options.trace && BeginsBlock(layers, i)) picks = Arena(counters.picks_storage_);
    Layer& added = counters.layers_.emplace_back(Layer{.shape = layers[i]});
    added.picks = TakePicks(picks, layers[i], options.max_tokens);
    if (options.count) {
      const size_t bytes = size_t{layers[i].num_experts} * sizeof(kernels::ExpertCounter);
      added.counters = reinterpret_cast<kernels::ExpertCounter*>(counts.Take(bytes));
    }
  }
  counters.trace_ = options.trace;
  counters.Clear();
  return counters;
}

void ExpertCounters::Count(kernels::ThreadPool& pool, int expert_layer, int tokens) {
  Layer& layer = layers_[expert_layer];
  if (layer.counters == nullptr) return;
  layer.tokens += tokens;
  layer.spilled.resize(pool.threads());
  const kernels::CountArgs args{.ids = layer.picks.ids,
                                .weights = layer.picks.weights,
                                .picks = int64_t{layer.shape.picks_per_token()} * tokens,
                                .counters = layer.counters};
  const uint64_t experts = layer.shape.num_experts;
  const int64_t shares = args.picks < kPicksWorthSharing ? 1 : pool.threads();
  pool.For(shares, 1, [&](int64_t begin, int64_t end, int thread) {
    kernels::CountExperts(args, static_cast<uint32_t>(experts * begin / shares),
                          static_cast<uint32_t>(experts * end / shares), layer.spilled[thread]);
  });
}

absl::Span<const ExpertPicks> ExpertCounters::Picks(int tokens) {
  reported_.clear();
  if (!trace_) return reported_;
  for (const Layer& layer : layers_) {
    const size_t picks = size_t{layer.shape.picks_per_token()} * tokens;
    reported_.push_back({.ids = {layer.picks.ids, picks}, .weights = {layer.picks.weights, picks}});
  }
  return reported_;
}

uint64_t ExpertCounters::Read(int expert_layer, absl::Span<ExpertCount> counts) const {
  const Layer& layer = layers_[expert_layer];
  if (counts.empty()) return layer.tokens;
  if (layer.counters == nullptr) {
    std::fill(counts.begin(), counts.end(), ExpertCount{});
    return layer.tokens;
  }
  kernels::ReadCounters(layer.counters, counts.size(), counts.data());
  for (const kernels::SpilledCounts& spilled : layer.spilled) {
    kernels::AddSpilled(spilled, counts.data());
  }
  return layer.tokens;
}

void ExpertCounters::Clear() {
  for (Layer& layer : layers_) {
    layer.tokens = 0;
    layer.spilled.clear();
  }
  std::fill_n(counts_storage_.data, counts_storage_.size, uint8_t{0});
}

}  // namespace peerage::nn
