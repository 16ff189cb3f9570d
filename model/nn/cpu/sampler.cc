#include "model/nn/cpu/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "model/kernels/logits.h"

namespace peerage::nn::cpu {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

// The order in which tokens are kept.
struct Better {
  std::span<const float> logits;
  bool operator()(TokenId a, TokenId b) const {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  }
};

// A weight in [0, 1] as an integer: rounded to 2^-40, the last bit of a double in [2^12, 2^13).
inline uint64_t Units(float weight) {
  return std::bit_cast<uint64_t>(weight + 0x1p12) - std::bit_cast<uint64_t>(0x1p12);
}

uint64_t TotalUnits(std::span<const float> weights) {
  uint64_t total = 0;
  for (const float weight : weights) total += Units(weight);
  return total;
}

// The k best tokens, in order of id. Precondition: 0 < k < logits.size().
void KeepTop(std::span<const float> logits, size_t k, std::vector<TokenId>& tokens) {
  constexpr size_t kMostByHeap = 256;
  if (k <= kMostByHeap) {
    tokens.resize(k);
    kernels::TopK(logits, tokens);
    std::sort(tokens.begin(), tokens.end());
    return;
  }
  const Better better{logits};
  tokens.resize(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  std::nth_element(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(k) - 1, tokens.end(),
                   better);
  const TokenId last = tokens[k - 1];
  std::iota(tokens.begin(), tokens.end(), 0);
  std::erase_if(tokens, [&](TokenId token) { return better(last, token); });
}

// The last of the fewest best tokens of `ranked` that together weigh `target`: a search by halves
// that orders no more than it must.
TokenId LastToReach(uint64_t target, std::span<TokenId> ranked, std::span<const float> weights,
                    const Better& better) {
  while (ranked.size() > 1) {
    const auto half = static_cast<ptrdiff_t>(ranked.size() / 2);
    std::nth_element(ranked.begin(), ranked.begin() + half, ranked.end(), better);
    uint64_t upper = 0;
    for (const TokenId token : ranked.first(half)) upper += Units(weights[token]);
    if (upper >= target) {
      ranked = ranked.first(half);
    } else {
      target -= upper;
      ranked = ranked.subspan(half);
    }
  }
  return ranked[0];
}

// Zeroes the weights outside the fewest best tokens with at least top_p of the mass.
void KeepNucleus(std::span<const float> logits, float top_p, std::span<float> weights,
                 std::vector<TokenId>& ranked) {
  const uint64_t total = TotalUnits(weights);
  const auto wanted = static_cast<uint64_t>(std::ceil(double{top_p} * static_cast<double>(total)));
  const uint64_t target = std::clamp<uint64_t>(wanted, 1, total);
  // Tokens so light that even all of them together may be left out need no ranking.
  const uint64_t spare = total - target;
  ranked.clear();
  for (size_t i = 0; i < weights.size(); ++i) {
    if (Units(weights[i]) * weights.size() > spare) ranked.push_back(static_cast<TokenId>(i));
  }
  const TokenId last = LastToReach(target, ranked, weights, Better{logits});
  const float lowest = logits[last];
  const float* logit = logits.data();  // pointers, or bounds checks forbid vectors
  float* weight = weights.data();
  for (size_t i = 0; i <= last; ++i) weight[i] = logit[i] >= lowest ? weight[i] : 0;
  for (size_t i = last + 1; i < weights.size(); ++i) weight[i] = logit[i] > lowest ? weight[i] : 0;
}

void KeepLikely(float min_p, std::span<float> weights) {
  for (float& weight : weights) weight = weight >= min_p ? weight : 0;
}

// Index of the token that holds the unit `random / 2^64` of the way through the weights.
size_t DrawIndex(std::span<const float> weights, uint64_t random) {
  using uint128 = unsigned __int128;
  auto left = static_cast<uint64_t>((uint128{random} * TotalUnits(weights)) >> 64);
  constexpr size_t kPiece = 512;
  size_t i = 0;
  for (; i + kPiece < weights.size(); i += kPiece) {
    const uint64_t piece = TotalUnits(weights.subspan(i, kPiece));
    if (left < piece) break;
    left -= piece;
  }
  for (; i + 1 < weights.size() && left >= Units(weights[i]); ++i) left -= Units(weights[i]);
  return i;
}

void Penalize(const Slot& slot, std::span<float> logits) {
  constexpr float kMost = std::numeric_limits<float>::max();
  const SamplingParams& params = slot.sampling();
  for (const auto& [token, count] : slot.seen()) {
    float logit = logits[token];
    if (!std::isfinite(logit)) continue;
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    logit -= params.frequency_penalty * static_cast<float>(count);
    if (count > 0) logit -= params.presence_penalty;
    logits[token] = std::clamp(logit, -kMost, kMost);  // a tiny penalty divides beyond f32
  }
}

void Mask(std::span<const TokenId> masked_ids, std::span<float> logits, std::vector<float>& saved) {
  saved.clear();
  for (const TokenId token : masked_ids) {
    saved.push_back(logits[token]);
    logits[token] = kMasked;
  }
  if (std::any_of(logits.begin(), logits.end(), [](float x) { return x > kMasked; })) return;
  // Backwards: an id that is named twice was saved unmasked the first time.
  for (size_t i = saved.size(); i-- > 0;) logits[masked_ids[i]] = saved[i];
}

TokenId Draw(const Slot& slot, std::span<const float> logits, SamplerScratch& scratch) {
  const SamplingParams& params = slot.sampling();
  const bool is_top_k = params.top_k > 0 && params.top_k < logits.size();
  if (is_top_k) {
    KeepTop(logits, params.top_k, scratch.tokens);
    scratch.logits.clear();
    for (const TokenId token : scratch.tokens) scratch.logits.push_back(logits[token]);
    logits = scratch.logits;
  }
  scratch.weights.resize(logits.size());
  kernels::SoftmaxWeights(logits, params.temperature, scratch.weights);
  if (params.top_p < 1) KeepNucleus(logits, params.top_p, scratch.weights, scratch.ranked);
  if (params.min_p > 0) KeepLikely(params.min_p, scratch.weights);
  const size_t index = DrawIndex(scratch.weights, slot.Random());
  return is_top_k ? scratch.tokens[index] : static_cast<TokenId>(index);
}

}  // namespace

SamplerScratch::SamplerScratch(size_t vocabulary) {
  logits.reserve(vocabulary);
  weights.reserve(vocabulary);
  tokens.reserve(vocabulary);
  ranked.reserve(vocabulary);
}

TokenId Sample(Slot& slot, std::span<float> logits, SamplerScratch& scratch) {
  const SamplingParams& params = slot.sampling();
  for (const auto& [token, bias] : params.logit_bias) logits[token] += bias;
  Penalize(slot, logits);
  if (slot.must_mask()) Mask(params.masked_ids, logits, scratch.logits);
  const TokenId token =
      params.temperature == 0 ? kernels::ArgMax(logits) : Draw(slot, logits, scratch);
  slot.Remember(token);
  return token;
}

}  // namespace peerage::nn::cpu
