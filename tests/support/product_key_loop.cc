#include "tests/support/product_key_loop.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "model/experts/expert_usage.h"

namespace peerage {
namespace {

// (score, id), ordered as picks are: the higher score first, then the lower id.
using Scored = std::pair<double, uint32_t>;

// Keeps the best, and lowers `margin` to their distance from the rest.
void KeepBest(std::vector<Scored>& scored, size_t count, double& margin) {
  std::sort(scored.begin(), scored.end(), [](const Scored& a, const Scored& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (count >= scored.size()) return;
  margin = std::min(margin, scored[count - 1].first - scored[count].first);
  scored.resize(count);
}

double LogOfSumOfExps(const DoubleRow& scores) {
  const double most = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const double score : scores) sum += std::exp(score - most);
  return most + std::log(sum);
}

class ProductKeyLoop {
 public:
  ProductKeyLoop(const MemoryCheckpoint& checkpoint, const ProductKeyConfig& config,
                 const std::string& prefix)
      : checkpoint_(checkpoint), config_(config), prefix_(prefix) {}

  DoublePicks Pick(const DoubleRow& x, const TokenControl& control) const {
    DoublePicks picks{.margin = std::numeric_limits<double>::infinity()};
    const DoubleRow all = Queries(x);
    const size_t width = all.size() / config_.heads;
    for (int head = 0; head < config_.heads; ++head) {
      const auto first = all.begin() + head * width;
      const DoubleRow query = NormedQuery(head, DoubleRow(first, first + width));
      if (control.layer == nullptr) {
        PickOfHead(head, query, picks);
      } else {
        PickOfHead(head, query, control, picks);
      }
    }
    return picks;
  }

 private:
  const std::vector<float>& values(const std::string& name) const {
    return checkpoint_.values(prefix_ + name);
  }
  bool direct() const { return config_.keys == ProductKeys::kDirect; }

  DoubleRow Queries(const DoubleRow& x) const {
    const std::string name = direct() ? "router." : "query.";
    DoubleRow queries = MultiplyRows(checkpoint_, prefix_ + name + "weight", {x})[0];
    for (size_t i = 0; config_.query_bias && i < queries.size(); ++i) {
      queries[i] += values(name + "bias")[i];
    }
    return queries;
  }

  DoubleRow NormedQuery(int head, DoubleRow query) const {
    const size_t width = query.size();
    if (config_.query_norm == QueryNorm::kNone) return query;
    const bool batch = config_.query_norm == QueryNorm::kBatch;
    const size_t first = batch ? head * width : 0;
    double mean = std::accumulate(query.begin(), query.end(), 0.0) / width, variance = 0;
    for (const double value : query) variance += (value - mean) * (value - mean) / width;
    for (size_t i = 0; i < width; ++i) {
      if (batch) {
        mean = values("query_norm.running_mean")[first + i];
        variance = values("query_norm.running_var")[first + i];
      }
      query[i] = (query[i] - mean) / std::sqrt(variance + config_.query_norm_eps) *
                     values("query_norm.weight")[first + i] +
                 values("query_norm.bias")[first + i];
    }
    return query;
  }

  // Scores of one half's sub-keys.
  DoubleRow HalfScores(int head, int half, const DoubleRow& query) const {
    const size_t n = config_.num_sub_keys, width = query.size() / 2;
    const auto own = query.begin() + half * width;
    if (direct()) return DoubleRow(own, own + n);
    const size_t set = (config_.keys == ProductKeys::kPerHead ? 2 * head : 0) + half;
    DoubleRow scores;
    for (size_t i = 0; i < n; ++i) {
      const auto key = values("sub_keys").begin() + (set * n + i) * width;
      scores.push_back(std::inner_product(own, own + width, key, 0.0));
    }
    return scores;
  }

  void PickOfHead(int head, const DoubleRow& query, DoublePicks& picks) const {
    const DoubleRow scores[] = {HalfScores(head, 0, query), HalfScores(head, 1, query)};
    std::vector<Scored> best[2], sums;
    for (int half = 0; half < 2; ++half) {
      for (size_t i = 0; i < scores[half].size(); ++i) best[half].push_back({scores[half][i], i});
      KeepBest(best[half], config_.top_k, picks.margin);
    }
    for (const auto& [first, i] : best[0]) {
      for (const auto& [second, j] : best[1]) {
        sums.push_back({first + second, i * config_.num_sub_keys + j});
      }
    }
    KeepBest(sums, config_.top_k, picks.margin);
    DoubleRow weights;
    for (const auto& [sum, id] : sums) {
      picks.ids.push_back(id + (config_.per_head_experts ? head * config_.num_experts : 0));
      weights.push_back(sum);
    }
    const double all = LogOfSumOfExps(scores[0]) + LogOfSumOfExps(scores[1]);
    const double kept = LogOfSumOfExps(weights);
    for (const double sum : weights) picks.weights.push_back(Weight(sum, kept, all));
    picks.kept_mass.push_back(std::exp(kept - all));
    double entropy = 0;
    for (const double first : scores[0]) {
      for (const double second : scores[1]) {
        entropy -= std::exp(first + second - all) * (first + second - all);
      }
    }
    picks.entropy.push_back(entropy);
  }

  // Every expert by itself.
  void PickOfHead(int head, const DoubleRow& query, const TokenControl& control,
                  DoublePicks& picks) const {
    const DoubleRow scores[] = {HalfScores(head, 0, query), HalfScores(head, 1, query)};
    const uint32_t first_id = config_.per_head_experts ? head * config_.num_experts : 0;
    DoubleRow sums;
    for (const double first : scores[0]) {
      for (const double second : scores[1]) sums.push_back(first + second);
    }
    std::vector<Scored> kept;
    if (control.ids.empty()) {
      for (const auto& [id, logit] : control.layer->biases) {
        if (id >= first_id && id - first_id < sums.size()) sums[id - first_id] += logit;
      }
      for (uint32_t e = 0; e < sums.size(); ++e) {
        if (!control.layer->masks(first_id + e)) kept.push_back({sums[e], first_id + e});
      }
      const uint32_t top_k = control.layer->top_k;
      KeepBest(kept, top_k == 0 ? config_.top_k : top_k, picks.margin);
    }
    for (const uint32_t id : ForcedOf(head, control.ids)) kept.push_back({sums[id - first_id], id});
    DoubleRow kept_sums;
    for (const auto& [sum, id] : kept) kept_sums.push_back(sum);
    for (size_t k = 0; k < kept.size(); ++k) {
      picks.ids.push_back(kept[k].second);
      picks.weights.push_back(
          control.weights.empty()
              ? Weight(kept[k].first, LogOfSumOfExps(kept_sums), LogOfSumOfExps(sums))
              : control.weights[head * config_.top_k + k]);
    }
  }

  std::vector<uint32_t> ForcedOf(int head, absl::Span<const uint32_t> ids) const {
    if (ids.empty()) return {};
    ids = ids.subspan(head * config_.top_k, config_.top_k);
    return {ids.begin(), std::find(ids.begin(), ids.end(), kNoExpert)};
  }

  double Weight(double sum, double log_of_kept, double log_of_all) const {
    switch (config_.score) {
      case RouterScore::kSoftmax:
        return std::exp(sum - log_of_kept);
      case RouterScore::kSigmoid:
        return 1 / (1 + std::exp(-sum));
      case RouterScore::kRelu:
        return std::max(sum, 0.0);
      case RouterScore::kJointSoftmax:
        return std::exp(sum - log_of_all);
    }
    return 0;
  }

  const MemoryCheckpoint& checkpoint_;
  const ProductKeyConfig& config_;
  const std::string prefix_;
};

}  // namespace

DoubleRows MultiplyRows(const MemoryCheckpoint& checkpoint, const std::string& tensor,
                        const DoubleRows& x) {
  const std::vector<float>& matrix = checkpoint.values(tensor);
  DoubleRows y;
  for (const DoubleRow& row : x) {
    DoubleRow& out = y.emplace_back();
    for (auto weights = matrix.begin(); weights != matrix.end(); weights += row.size()) {
      out.push_back(std::inner_product(row.begin(), row.end(), weights, 0.0));
    }
  }
  return y;
}

DoublePicks PickByProductKeys(const MemoryCheckpoint& checkpoint, const ProductKeyConfig& config,
                              const std::string& prefix, const DoubleRow& x,
                              const TokenControl& control) {
  return ProductKeyLoop(checkpoint, config, prefix).Pick(x, control);
}

DoubleRow PeerInput(const MemoryCheckpoint& checkpoint, const PeerConfig& config,
                    const std::string& prefix, DoubleRow u) {
  if (config.norm == PeerNorm::kNone) return u;
  const double squares = std::inner_product(u.begin(), u.end(), u.begin(), 0.0);
  const double root = config.norm == PeerNorm::kRms
                          ? std::sqrt(squares / u.size() + checkpoint.config().norm_eps)
                          : std::max(std::sqrt(squares), 1e-12) / std::sqrt(u.size());
  const std::vector<float>& weight = checkpoint.values(prefix + "norm.weight");
  for (size_t i = 0; i < u.size(); ++i) u[i] *= weight[i] / root;
  return u;
}

DoubleRow PeerOutput(const MemoryCheckpoint& checkpoint, const PeerConfig& config,
                     const std::string& prefix, const DoubleRow& x, const TokenControl& control) {
  const DoublePicks picks = PickByProductKeys(checkpoint, config.keys, prefix, x, control);
  const auto dot = [&](const char* name, uint32_t id) {
    const auto row = checkpoint.values(prefix + name).begin() + size_t{id} * x.size();
    return std::inner_product(x.begin(), x.end(), row, 0.0);
  };
  DoubleRow y(x.size());
  for (size_t i = 0; i < picks.ids.size(); ++i) {
    const uint32_t id = picks.ids[i];
    double scalar = dot("down.weight", id);
    scalar = config.glu ? scalar * Activated(config.activation, dot("gate.weight", id))
                        : Activated(config.activation, scalar);
    const auto up = checkpoint.values(prefix + "up.weight").begin() + size_t{id} * x.size();
    for (size_t j = 0; j < y.size(); ++j) y[j] += picks.weights[i] * scalar * up[j];
  }
  return y;
}

DoubleRow MemoryOutput(const MemoryCheckpoint& checkpoint, const ProductKeyMemoryConfig& config,
                       const std::string& prefix, const DoubleRow& u, const TokenControl& control) {
  const DoublePicks picks = PickByProductKeys(checkpoint, config.keys, prefix, u, control);
  DoubleRow y(u.size());
  for (size_t i = 0; i < picks.ids.size(); ++i) {
    const auto value =
        checkpoint.values(prefix + "values.weight").begin() + size_t{picks.ids[i]} * u.size();
    for (size_t j = 0; j < y.size(); ++j) y[j] += picks.weights[i] * value[j];
  }
  return y;
}

double Activated(Activation function, double x) {
  switch (function) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return x * (1 + std::erf(x / std::sqrt(2.0))) / 2;
    case Activation::kGeluTanh:
      return x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) / 2;
    case Activation::kRelu:
      return std::max(x, 0.0);
  }
  return 0;
}

}  // namespace peerage
