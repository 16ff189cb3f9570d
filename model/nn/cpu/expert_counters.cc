#include "model/nn/cpu/expert_counters.h"

#include <algorithm>
#include <utility>

namespace peerage::nn::cpu {
namespace {

// Fewer are counted faster than a second thread is woken.
constexpr int64_t kPicksWorthSharing = 512;

absl::uint128 SquaredScores(absl::Span<const float> weights) {
  absl::uint128 sum = 0;
  for (const float weight : weights) {
    const absl::uint128 score = ExpertScore(weight);
    sum += score * score;
  }
  return sum;
}

}  // namespace

ExpertCounters::ExpertCounters(std::vector<ExpertLayer> layers, const Options& options)
    : options_(options) {
  for (ExpertLayer& layer : layers) layers_.push_back({.shape = std::move(layer)});
}

void ExpertCounters::LayCounters(Arena& arena) {
  if (!options_.count) return;
  for (Layer& layer : layers_) {
    layer.counters = arena.TakeArray<kernels::ExpertCounter>(layer.shape.num_experts);
  }
}

void ExpertCounters::LayPicks(Arena& arena) {
  const size_t start = arena.mark();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool begins_block = i == 0 || layers_[i].shape.layer != layers_[i - 1].shape.layer;
    if (!options_.trace && begins_block) arena.Rewind(start);
    const size_t picks = size_t{layers_[i].shape.picks_per_token()} * options_.max_tokens;
    layers_[i].picks.ids = arena.TakeArray<uint32_t>(picks);
    layers_[i].picks.weights = arena.TakeArray<float>(picks);
  }
}

void ExpertCounters::Count(kernels::ThreadPool& pool, int expert_layer, int tokens) {
  Layer& layer = layers_[expert_layer];
  if (layer.counters == nullptr) return;
  layer.tokens += tokens;
  layer.spilled.resize(pool.threads());
  layer.squared_scores.resize(pool.threads());
  const kernels::CountArgs args{.ids = layer.picks.ids,
                                .weights = layer.picks.weights,
                                .picks = int64_t{layer.shape.picks_per_token()} * tokens,
                                .counters = layer.counters};
  const uint64_t experts = layer.shape.num_experts;
  const int64_t shares = args.picks < kPicksWorthSharing ? 1 : pool.threads();
  pool.For(shares, 1, [&](int64_t begin, int64_t end, int thread) {
    kernels::CountExperts(args, static_cast<uint32_t>(experts * begin / shares),
                          static_cast<uint32_t>(experts * end / shares), layer.spilled[thread]);
    const int64_t first = args.picks * begin / shares, last = args.picks * end / shares;
    layer.squared_scores[thread] +=
        SquaredScores(absl::MakeConstSpan(args.weights + first, last - first));
  });
}

absl::Span<const ExpertPicks> ExpertCounters::Picks(int tokens) {
  reported_.clear();
  if (!options_.trace) return reported_;
  for (const Layer& layer : layers_) {
    const size_t picks = size_t{layer.shape.picks_per_token()} * tokens;
    reported_.push_back({.ids = {layer.picks.ids, picks}, .weights = {layer.picks.weights, picks}});
  }
  return reported_;
}

UsageTotals ExpertCounters::Read(int expert_layer, absl::Span<ExpertCount> counts) const {
  const Layer& layer = layers_[expert_layer];
  if (layer.counters == nullptr) {
    std::fill(counts.begin(), counts.end(), ExpertCount{});
    return {};
  }
  UsageTotals totals{.tokens = layer.tokens};
  for (const absl::uint128 squares : layer.squared_scores) totals.squared_scores += squares;
  if (counts.empty()) return totals;
  kernels::ReadCounters(layer.counters, counts.size(), counts.data());
  for (const kernels::SpilledCounts& spilled : layer.spilled) {
    kernels::AddSpilled(spilled, counts.data());
  }
  return totals;
}

void ExpertCounters::Clear() {
  for (Layer& layer : layers_) {
    if (layer.counters == nullptr || layer.tokens == 0) continue;
    std::fill_n(layer.counters, layer.shape.num_experts, kernels::ExpertCounter{});
    layer.spilled.clear();
    layer.squared_scores.clear();
    layer.tokens = 0;
  }
}

}  // namespace peerage::nn::cpu
