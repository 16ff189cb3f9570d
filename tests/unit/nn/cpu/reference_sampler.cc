#include "tests/unit/nn/cpu/reference_sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace peerage::nn::cpu {
namespace {

std::vector<double> Adjusted(const std::vector<float>& logits, const SamplingParams& params,
                             const std::vector<TokenId>& prompt,
                             const std::vector<TokenId>& generated) {
  std::vector<double> x(logits.begin(), logits.end());
  for (const auto& [token, bias] : params.logit_bias) x[token] += bias;
  std::map<TokenId, int> seen;
  for (const TokenId token : prompt) seen[token] = 0;
  for (const TokenId token : generated) ++seen[token];
  for (const auto& [token, count] : seen) {
    x[token] =
        x[token] > 0 ? x[token] / params.repetition_penalty : x[token] * params.repetition_penalty;
    x[token] -= params.frequency_penalty * count + params.presence_penalty * (count > 0);
  }
  if (generated.size() < params.min_tokens) {
    for (const TokenId token : params.masked_ids) x[token] = -INFINITY;
  }
  return x;
}

// Scales what is there to a sum of 1.
void Normalize(std::vector<double>& p) {
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
}

}  // namespace

std::vector<double> ReferenceProbabilities(const std::vector<float>& logits,
                                           const SamplingParams& params,
                                           const std::vector<TokenId>& prompt,
                                           const std::vector<TokenId>& generated) {
  std::vector<double> x = Adjusted(logits, params, prompt, generated);
  std::vector<TokenId> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return x[a] > x[b]; });
  const double highest = x[order[0]];
  std::vector<double> p(x.size());
  for (size_t i = 0; i < x.size(); ++i) p[i] = std::exp((x[i] - highest) / params.temperature);

  for (size_t i = params.top_k; params.top_k > 0 && i < order.size(); ++i) p[order[i]] = 0;
  Normalize(p);

  double mass = 0;
  for (const TokenId token : order) {
    const bool reached = mass >= params.top_p && params.top_p < 1;
    mass += p[token];
    if (reached) p[token] = 0;
  }

  const double most = p[order[0]];
  for (double& x : p) x = x >= params.min_p * most ? x : 0;
  Normalize(p);
  return p;
}

}  // namespace peerage::nn::cpu
