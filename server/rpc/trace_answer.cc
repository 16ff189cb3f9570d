#include "server/rpc/trace_answer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/little_endian.h"
#include "server/rpc/to_proto.h"

namespace peerage {
namespace {

constexpr size_t kTopExperts = 16;

// Entropy of the score-weighted usage, in nats.
double Entropy(const std::vector<ExpertTally>& tallies, double sum) {
  if (sum == 0) return 0;
  double entropy = 0;
  for (const ExpertTally& tally : tallies) {
    const double z = static_cast<double>(tally.score) / sum;
    if (z > 0) entropy -= z * std::log(z);
  }
  return std::max(entropy, 0.0);
}

// The most used first; among equals the lower id.
void AddTop(std::vector<ExpertTally> tallies, double sum, v1::LayerTrace& result) {
  const auto top = tallies.begin() + static_cast<ptrdiff_t>(std::min(tallies.size(), kTopExperts));
  std::partial_sort(tallies.begin(), top, tallies.end(),
                    [](const ExpertTally& a, const ExpertTally& b) {
                      return a.score != b.score ? a.score > b.score : a.expert < b.expert;
                    });
  for (auto tally = tallies.begin(); tally != top; ++tally) {
    result.add_top_expert_ids(tally->expert);
    result.add_top_expert_shares(sum == 0 ? 0 : static_cast<double>(tally->score) / sum);
  }
}

}  // namespace

void TraceAnswer::Add(size_t part, ExpertTrace trace) {
  if (trace.layers.empty()) return;
  sums_.resize(layers_.size());
  for (size_t i = 0; i < layers_.size(); ++i) {
    sums_[i] = MergeTallies(sums_[i], trace.layers[i].Tallies());
  }
  if (level_ != ExpertTraceLevel::kFull) return;
  if (parts_.size() <= part) parts_.resize(part + 1);
  parts_[part] = std::move(trace);
}

TraceAnswer TraceAnswer::Cut() {
  TraceAnswer cut(level_, layers_);
  cut.cached_tokens_ = cached_tokens_;
  cut.sums_.swap(sums_);
  cut.parts_.swap(parts_);
  cut.control_ = std::exchange(control_, std::nullopt);
  return cut;
}

v1::ExpertTrace TraceAnswer::ToProto() const {
  v1::ExpertTrace result;
  if (control_.has_value()) *result.mutable_expert_control() = *control_;
  result.set_cached_tokens(cached_tokens_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    v1::LayerTrace& layer = *result.add_layers();
    layer.set_layer(layers_[i].layer);
    layer.set_kind(peerage::ToProto(layers_[i].kind));
    layer.set_num_experts(layers_[i].num_experts);
    AddSums(i, layer);
    if (level_ == ExpertTraceLevel::kFull) AddPicks(i, layer);
  }
  return result;
}

void TraceAnswer::AddSums(size_t layer, v1::LayerTrace& result) const {
  std::vector<ExpertTally> tallies;
  if (!sums_.empty()) tallies = sums_[layer];
  uint64_t selections = 0;
  uint64_t score = 0;
  for (const ExpertTally& tally : tallies) {
    selections += tally.selections;
    score += tally.score;
  }
  const auto sum = static_cast<double>(score);
  result.set_selections(selections);
  result.set_distinct_experts(static_cast<uint32_t>(tallies.size()));
  result.set_entropy_nats(Entropy(tallies, sum));
  AddTop(std::move(tallies), sum, result);
}

void TraceAnswer::AddPicks(size_t layer, v1::LayerTrace& result) const {
  uint32_t tokens = 0;
  for (const ExpertTrace& part : parts_) {
    if (part.layers.empty()) continue;
    tokens += part.tokens;
    AppendLittleEndian(part.layers[layer].ids(), *result.mutable_expert_ids());
    AppendLittleEndian(part.layers[layer].weights(), *result.mutable_scores());
  }
  result.set_tokens(tokens);
  result.set_heads(layers_[layer].heads);
  result.set_top_k(layers_[layer].top_k);
}

}  // namespace peerage
