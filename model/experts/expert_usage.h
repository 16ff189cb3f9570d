#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/numeric/int128.h"
#include "absl/types/span.h"

namespace peerage {

enum class ExpertLayerKind { kPeer, kProductKeyMemory, kMixtureFfn, kMixtureAttention };

// The id of a place for a pick that holds none: a request may ask for fewer picks than a layer has
// places (expert_control.h). Its weight is 0.
inline constexpr uint32_t kNoExpert = 0xffffffff;

// One set of experts of a model. A layer may have several, of different kinds.
struct ExpertLayer {
  uint32_t layer = 0;  // index of the transformer layer
  ExpertLayerKind kind = ExpertLayerKind::kPeer;
  uint32_t num_experts = 0;  // heads * N when each head has its own (an id is head * N + expert)
  uint32_t heads = 0;
  uint32_t top_k = 0;                          // per head
  std::vector<std::string> expert_names = {};  // [num_experts], or empty
  uint32_t expert_sets = 1;                    // heads, when each head has its own experts
  uint32_t num_sub_keys = 0;                   // of a half; 0: they are not found by product keys

  uint32_t picks_per_token() const { return heads * top_k; }
  size_t sub_keys_of_heads() const { return size_t{2} * heads * num_sub_keys; }  // both halves
  bool is_mixture() const {
    return kind == ExpertLayerKind::kMixtureFfn || kind == ExpertLayerKind::kMixtureAttention;
  }
  // Its name, or its index where it has none.
  std::string expert_name(uint32_t id) const {
    return expert_names.empty() ? std::to_string(id) : expert_names[id];
  }
};

// How often an expert was picked and the sum of the weights it was picked with, in fixed point:
// sums do not depend on the order of summation.
struct ExpertCount {
  // Weights are rounded to 2^-24, and cut to [0, kMaxWeight]; NaN counts as 0. An even spread over
  // a million experts is still 17 units a pick, and 32 bits hold a sum of 256.
  static constexpr double kUnit = 1.0 / (1 << 24);
  static constexpr float kMaxWeight = 4096;

  uint64_t selections = 0;
  uint64_t score = 0;  // in units of kUnit
};

// A pick's weight in the fixed point of ExpertCount::score, to the nearest unit, halves up.
inline uint64_t ExpertScore(float weight) {
  if (!(weight > 0)) return 0;  // NaN, too
  const double cut = std::min(weight, ExpertCount::kMaxWeight);
  const double rounded = cut / ExpertCount::kUnit + 0.5;  // exact, and not negative
  return static_cast<uint64_t>(rounded);
}

// What is too dear to compute for all tokens is computed for one in so many, the first included.
inline constexpr uint64_t kTokensPerSample = 16;

// Ratios by size, as a histogram has them.
struct RatioCounts {
  static constexpr std::array<double, 9> kBounds = {.001, .01, .1, .3, .5, .7, .9, .97, 1};

  std::array<uint64_t, kBounds.size()> counts = {};  // at most this bound, and above the one before
  uint64_t sum = 0;                                  // in units of ExpertCount::kUnit

  // Precondition: 0 to 1.
  void Add(float ratio) {
    ++counts[std::lower_bound(kBounds.begin(), kBounds.end() - 1, ratio) - kBounds.begin()];
    sum += ExpertScore(ratio);
  }
  RatioCounts& operator+=(const RatioCounts& other) {
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
    sum += other.sum;
    return *this;
  }
  RatioCounts operator-() const {
    RatioCounts negative{.sum = -sum};
    for (size_t i = 0; i < counts.size(); ++i) negative.counts[i] = -counts[i];
    return negative;
  }
};

// What one expert layer counted beside its experts. Sums are modulo their width: what is taken out
// of them may be added before it.
struct UsageTotals {
  uint64_t tokens = 0;
  absl::uint128 squared_scores = 0;  // of every pick's ExpertScore: in units of kUnit^2
  uint64_t step_distinct = 0;        // different experts of each step
  uint64_t bytes_read = 0;           // their records; 0 for mixtures
  // One token in kTokensPerSample, and one of its heads, each in turn; kernels/router_figures.h.
  RatioCounts kept_mass = {};
  RatioCounts router_entropy = {};

  UsageTotals& operator+=(const UsageTotals& other) {
    tokens += other.tokens;
    squared_scores += other.squared_scores;
    step_distinct += other.step_distinct;
    bytes_read += other.bytes_read;
    kept_mass += other.kept_mass;
    router_entropy += other.router_entropy;
    return *this;
  }
  UsageTotals operator-() const {
    return {.tokens = -tokens,
            .squared_scores = -squared_scores,
            .step_distinct = -step_distinct,
            .bytes_read = -bytes_read,
            .kept_mass = -kept_mass,
            .router_entropy = -router_entropy};
  }
};

// The experts that a step's tokens picked in one expert layer, in the batch's order of tokens.
struct ExpertPicks {
  absl::Span<const uint32_t> ids;   // [tokens, heads, top_k]; kNoExpert comes last in its head
  absl::Span<const float> weights;  // [tokens, heads, top_k]: the final weights
};

}  // namespace peerage
