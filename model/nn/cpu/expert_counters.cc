#include "model/nn/cpu/expert_counters.h"

#include <algorithm>
#include <cmath>
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
    : options_(options), samples_(options.max_tokens / kTokensPerSample + 1) {
  for (ExpertLayer& layer : layers) layers_.push_back({.shape = std::move(layer)});
}

void ExpertCounters::LayCounters(Arena& arena) {
  if (!options_.count) return;
  for (Layer& layer : layers_) {
    layer.counters = arena.TakeArray<kernels::ExpertCounter>(layer.shape.num_experts);
    layer.sub_keys = arena.TakeArray<uint64_t>(layer.shape.sub_keys_of_heads());
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

void ExpertCounters::BeginStep(Layer& layer) {
  if (layer.step == kernels::ExpertCounter::kLastStep) {
    kernels::ForgetSteps(layer.counters, layer.shape.num_experts);
    layer.step = 0;
  }
  ++layer.step;
}

void ExpertCounters::Count(kernels::ThreadPool& pool, int expert_layer, int tokens,
                           size_t record_bytes) {
  Layer& layer = layers_[expert_layer];
  if (layer.counters == nullptr) return;
  BeginStep(layer);
  layer.shares.resize(pool.threads());
  const kernels::CountArgs args{.ids = layer.picks.ids,
                                .weights = layer.picks.weights,
                                .picks = int64_t{layer.shape.picks_per_token()} * tokens,
                                .counters = layer.counters,
                                .step = layer.step};
  const uint64_t experts = layer.shape.num_experts;
  const int64_t parts = args.picks < kPicksWorthSharing ? 1 : pool.threads();
  pool.For(parts, 1, [&](int64_t begin, int64_t end, int thread) {
    Share& share = layer.shares[thread];
    const int64_t distinct =
        kernels::CountExperts(args, static_cast<uint32_t>(experts * begin / parts),
                              static_cast<uint32_t>(experts * end / parts), share.spilled);
    share.step_distinct += distinct;
    const int64_t first = args.picks * begin / parts, last = args.picks * end / parts;
    share.squared_scores += SquaredScores(absl::MakeConstSpan(args.weights + first, last - first));
  });
  CountSubKeys(layer, tokens);
  layer.totals.tokens += tokens;
  layer.record_bytes = record_bytes;
}

int ExpertCounters::FirstSample(const Layer& layer) {
  return static_cast<int>(-layer.totals.tokens % kTokensPerSample);
}

void ExpertCounters::CountSubKeys(Layer& layer, int tokens) {
  const ExpertLayer& shape = layer.shape;
  const uint32_t n = shape.num_sub_keys;
  if (n == 0) return;
  const uint32_t experts_of_set = shape.num_experts / shape.expert_sets;
  for (int token = FirstSample(layer); token < tokens; token += kTokensPerSample) {
    const uint32_t* id = layer.picks.ids + size_t(token) * shape.picks_per_token();
    for (uint32_t head = 0; head < shape.heads; ++head) {
      uint64_t* rows = layer.sub_keys + size_t{2} * head * n;
      for (uint32_t k = 0; k < shape.top_k; ++k, ++id) {
        if (*id == kNoExpert) continue;
        const uint32_t expert = *id % experts_of_set;
        ++rows[expert / n];
        ++rows[n + expert % n];
      }
    }
  }
}

void ExpertCounters::Observe(kernels::ThreadPool& pool, int expert_layer, int tokens,
                             RouterFiguresOf figures) {
  Layer& layer = layers_[expert_layer];
  const int first = FirstSample(layer);
  if (layer.counters == nullptr || first >= tokens) return;
  constexpr int kStride = kTokensPerSample;
  const uint64_t before = (layer.totals.tokens + first) / kTokensPerSample;
  const int samples = (tokens - first + kStride - 1) / kStride;
  pool.For(samples, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const int token = first + static_cast<int>(i) * kStride;
      samples_[i] = figures(token, static_cast<int>((before + i) % layer.shape.heads), thread);
    }
  });
  for (int i = 0; i < samples; ++i) {
    if (std::isnan(samples_[i].kept_mass) || std::isnan(samples_[i].entropy)) continue;
    layer.totals.kept_mass.Add(samples_[i].kept_mass);
    layer.totals.router_entropy.Add(samples_[i].entropy);
  }
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
  UsageTotals totals = layer.totals;
  for (const Share& share : layer.shares) {
    totals.squared_scores += share.squared_scores;
    totals.step_distinct += share.step_distinct;
  }
  totals.bytes_read = totals.step_distinct * layer.record_bytes;
  if (counts.empty()) return totals;
  kernels::ReadCounters(layer.counters, counts.size(), counts.data());
  for (const Share& share : layer.shares) kernels::AddSpilled(share.spilled, counts.data());
  return totals;
}

void ExpertCounters::ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) const {
  const Layer& layer = layers_[expert_layer];
  if (layer.counters == nullptr) {
    std::fill(counts.begin(), counts.end(), 0);
  } else {
    std::copy_n(layer.sub_keys, counts.size(), counts.begin());
  }
}

void ExpertCounters::Clear() {
  for (Layer& layer : layers_) {
    if (layer.counters == nullptr || layer.totals.tokens == 0) continue;
    std::fill_n(layer.counters, layer.shape.num_experts, kernels::ExpertCounter{});
    std::fill_n(layer.sub_keys, layer.shape.sub_keys_of_heads(), 0);
    layer.shares.clear();
    layer.totals = {};
    layer.step = 0;
  }
}

}  // namespace peerage::nn::cpu
