#include "tests/support/expert_loop.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "model/experts/expert_usage.h"
#include "model/kernels/float16.h"

namespace peerage {
namespace {

using Row = DoubleRow;
using Rows = DoubleRows;

Row Softmax(Row scores) {
  const double most = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - most);
  for (double& score : scores) score /= sum;
  return scores;
}

// What each expert's output is multiplied by: zero for those that are not kept.
Row Gates(Row logits, const MixtureConfig& mixture, const TokenControl& control) {
  const LayerControl none;
  const LayerControl& asked = control.layer == nullptr ? none : *control.layer;
  if (control.ids.empty()) {
    for (const auto& [id, logit] : asked.biases) logits[id] += logit;
  }
  const Row p = Softmax(std::move(logits));
  std::vector<uint32_t> kept;
  for (uint32_t e = 0; control.ids.empty() && e < p.size(); ++e) {
    if (!asked.masks(e)) kept.push_back(e);
  }
  std::stable_sort(kept.begin(), kept.end(), [&](uint32_t a, uint32_t b) { return p[a] > p[b]; });
  kept.resize(std::min<size_t>(kept.size(), asked.top_k == 0 ? mixture.top_k : asked.top_k));
  for (const uint32_t id : control.ids) {
    if (id != kNoExpert) kept.push_back(id);
  }
  Row gates(p.size());
  for (size_t k = 0; k < kept.size(); ++k) {
    gates[kept[k]] = control.weights.empty() ? p[kept[k]] : control.weights[k];
  }
  if (!mixture.normalize_top_k || !control.weights.empty() || kept.empty()) return gates;
  const double sum = std::accumulate(gates.begin(), gates.end(), 0.0);
  for (double& gate : gates) gate /= sum;
  return gates;
}

class ExpertLoop {
 public:
  explicit ExpertLoop(const MemoryCheckpoint& checkpoint,
                      LoopRounding rounding = LoopRounding::kNone,
                      const ExpertControl& control = {})
      : checkpoint_(checkpoint),
        config_(checkpoint.config()),
        rounding_(rounding),
        control_(control) {}

  std::vector<Rows> HiddenStates(const std::vector<TokenId>& tokens) const {
    const std::vector<float>& embedding = checkpoint_.values("model.embed_tokens.weight");
    const size_t width = config_.hidden_size;
    Rows x;
    for (const TokenId token : tokens) {
      const auto row = embedding.begin() + token * width;
      x.emplace_back(row, row + width);
    }
    std::vector<Rows> states = {x};
    for (size_t layer = 0; layer < config_.layers.size(); ++layer) {
      AddBlock(layer, x);
      states.push_back(x);
    }
    states.push_back(Norm("model.norm.weight", x));
    return states;
  }

  Rows Logits(const std::vector<TokenId>& tokens) const {
    return Multiply(config_.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
                    HiddenStates(tokens).back());
  }

  void AddBlock(size_t index, Rows& x) const {
    const std::string prefix = "model.layers." + std::to_string(index) + ".";
    Rows u = Norm(prefix + "input_norm.weight", x);
    AddAttention(index, u, x);
    if (!config_.parallel_block) u = Norm(prefix + "post_attention_norm.weight", x);
    AddFfn(index, u, x);
  }

  void AddAttention(size_t index, const Rows& u, Rows& x) const {
    expert_layer_ = FirstExpertLayer(index);
    AddAttention(config_.layers[index].attention,
                 "model.layers." + std::to_string(index) + ".attention.", u, x);
  }

  void AddFfn(size_t index, const Rows& u, Rows& x) const {
    expert_layer_ = FirstExpertLayer(index);
    if (config_.layers[index].attention.kind == AttentionKind::kMixture) ++expert_layer_;
    const std::string prefix = "model.layers." + std::to_string(index) + ".ffn.";
    for (const FfnConfig& ffn : config_.layers[index].ffn) {
      std::visit([&](const auto& part) { AddFfn(part, prefix, u, x); }, ffn);
      if (!std::holds_alternative<DenseFfnConfig>(ffn)) ++expert_layer_;
    }
  }

 private:
  size_t FirstExpertLayer(size_t index) const {
    size_t count = 0;
    for (size_t i = 0; i < index; ++i) {
      const LayerConfig& layer = config_.layers[i];
      if (layer.attention.kind == AttentionKind::kMixture) ++count;
      for (const FfnConfig& ffn : layer.ffn) {
        if (!std::holds_alternative<DenseFfnConfig>(ffn)) ++count;
      }
    }
    return count;
  }
  TokenControl ControlOf(size_t token) const { return control_.Of(expert_layer_, token); }

  void AddAttention(const AttentionConfig& attention, const std::string& prefix, const Rows& u,
                    Rows& x) const {
    if (attention.kind == AttentionKind::kDense) {
      return AddScaled({}, Attention(prefix, prefix, u, {}), x);
    }
    for (int e = 0; e < attention.mixture.num_experts; ++e) {
      const std::string own = prefix + "experts." + std::to_string(e) + ".";
      const std::string& kv = attention.kv == MixtureKv::kShared ? prefix : own;
      const Rows logits = Multiply(prefix + "router.weight", u);
      AddScaled({}, Attention(own, kv, u, ExpertGates(attention.mixture, logits, e)), x);
    }
  }

  void AddFfn(const DenseFfnConfig&, const std::string& prefix, const Rows& u, Rows& x) const {
    AddScaled({}, DenseFfn(prefix + "dense.", u), x);
  }

  // Ids are those of feed-forward experts, then zero, copy and constant ones (MoE++).
  void AddFfn(const MixtureFfnConfig& ffn, const std::string& prefix, const Rows& u,
              Rows& x) const {
    const std::string mixture = prefix + "mixture.";
    const Rows logits = MixtureLogits(ffn, mixture, u);
    const int copies = ffn.mixture.num_experts + ffn.zero_experts;
    const int constants = copies + ffn.copy_experts;
    for (int e = 0; e < ffn.total_experts(); ++e) {
      Rows y(u.size(), Row(u[0].size()));
      if (e < ffn.mixture.num_experts) {
        y = DenseFfn(mixture + "experts." + std::to_string(e) + ".", u);
      } else if (e >= constants) {
        y = Constant(mixture + "constants." + std::to_string(e - constants) + ".", u);
      } else if (e >= copies) {
        y = u;
      }
      AddScaled(ExpertGates(ffn.mixture, logits, e), y, x);
    }
  }

  Rows MixtureLogits(const MixtureFfnConfig& ffn, const std::string& prefix, const Rows& u) const {
    Rows logits = Multiply(prefix + "router.weight", u);
    if (!ffn.gating_residual) return logits;
    if (!kept_logits_.empty()) {
      AddScaled({}, Multiply(prefix + "router.residual.weight", kept_logits_), logits);
    }
    kept_logits_ = logits;
    return logits;
  }

  Rows Constant(const std::string& prefix, const Rows& u) const {
    const std::vector<float>& vector = checkpoint_.values(prefix + "vector");
    Rows y = u;
    const Rows scores = Multiply(prefix + "weight", u);
    for (size_t t = 0; t < u.size(); ++t) {
      const Row mix = Softmax(scores[t]);
      for (size_t i = 0; i < y[t].size(); ++i) y[t][i] = mix[0] * u[t][i] + mix[1] * vector[i];
    }
    return y;
  }

  void AddFfn(const PeerConfig& peer, const std::string& prefix, const Rows& u, Rows& x) const {
    Rows y;
    for (size_t t = 0; t < u.size(); ++t) {
      const Row input = Rounded({PeerInput(checkpoint_, peer, prefix + "peer.", u[t])}).front();
      y.push_back(PeerOutput(checkpoint_, peer, prefix + "peer.", input, ControlOf(t)));
    }
    AddScaled({}, y, x);
  }

  void AddFfn(const ProductKeyMemoryConfig& memory, const std::string& prefix, const Rows& u,
              Rows& x) const {
    Rows y;
    for (size_t t = 0; t < u.size(); ++t) {
      y.push_back(MemoryOutput(checkpoint_, memory, prefix + "pkm.", u[t], ControlOf(t)));
    }
    AddScaled({}, y, x);
  }

  // The gate of one expert, token by token.
  Row ExpertGates(const MixtureConfig& mixture, const Rows& logits, int expert) const {
    Row gates;
    for (size_t t = 0; t < logits.size(); ++t) {
      gates.push_back(Gates(logits[t], mixture, ControlOf(t))[expert]);
    }
    return gates;
  }

  // No gates: ones.
  static void AddScaled(const Row& gates, const Rows& y, Rows& x) {
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t i = 0; i < x[t].size(); ++i) {
        x[t][i] += (gates.empty() ? 1 : gates[t]) * y[t][i];
      }
    }
  }

  // `gates`: of each token, factors of the heads' outputs; none: ones.
  Rows Attention(const std::string& own, const std::string& kv, const Rows& u,
                 const Row& gates) const {
    const int dim = config_.head_dim, group = config_.num_heads / config_.num_kv_heads;
    const Rows q = Rotated(Multiply(own + "q_proj.weight", u));
    const Rows k = Rounded(Rotated(Multiply(kv + "k_proj.weight", u)));
    const Rows v = Rounded(Multiply(kv + "v_proj.weight", u));
    Rows heads(u.size(), Row(config_.num_heads * dim));
    for (size_t t = 0; t < u.size(); ++t) {
      for (int h = 0; h < config_.num_heads; ++h) {
        const int kv_head = h / group * dim;
        Row scores(t + 1);
        for (size_t s = 0; s <= t; ++s) {
          for (int i = 0; i < dim; ++i) scores[s] += q[t][h * dim + i] * k[s][kv_head + i];
          scores[s] /= std::sqrt(dim);
        }
        const Row shares = Softmax(scores);
        for (size_t s = 0; s <= t; ++s) {
          for (int i = 0; i < dim; ++i) heads[t][h * dim + i] += shares[s] * v[s][kv_head + i];
        }
      }
    }
    for (size_t t = 0; t < gates.size(); ++t) {
      for (double& value : heads[t]) value *= gates[t];
    }
    return Multiply(own + "o_proj.weight", Rounded(heads));
  }

  Rows Rotated(Rows x) const {
    const int dim = config_.head_dim, half = dim / 2;
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t head = 0; head < x[t].size(); head += dim) {
        for (int i = 0; i < half; ++i) {
          const double angle = t * std::pow(config_.rope_theta, -2.0 * i / dim);
          double& a = x[t][head + (config_.rope_interleaved ? 2 * i : i)];
          double& b = x[t][head + (config_.rope_interleaved ? 2 * i + 1 : i + half)];
          const Row turned = {a * std::cos(angle) - b * std::sin(angle),
                              b * std::cos(angle) + a * std::sin(angle)};
          a = turned[0];
          b = turned[1];
        }
      }
    }
    return x;
  }

  Rows DenseFfn(const std::string& prefix, const Rows& u) const {
    Rows gate = Multiply(prefix + "gate_proj.weight", u);
    const Rows up = Multiply(prefix + "up_proj.weight", u);
    for (size_t t = 0; t < u.size(); ++t) {
      for (size_t i = 0; i < up[t].size(); ++i) {
        gate[t][i] = Activated(config_.activation, gate[t][i]) * up[t][i];
      }
    }
    return Multiply(prefix + "down_proj.weight", Rounded(gate));
  }

  Rows Norm(const std::string& name, Rows x) const {
    const std::vector<float>& weight = checkpoint_.values(name);
    for (Row& row : x) {
      const double mean = config_.norm_type == NormType::kLayerNorm
                              ? std::accumulate(row.begin(), row.end(), 0.0) / row.size()
                              : 0;
      for (double& value : row) value -= mean;
      const double squares = std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
      const double root = std::sqrt(squares / row.size() + config_.norm_eps);
      for (size_t i = 0; i < row.size(); ++i) row[i] *= weight[i] / root;
    }
    return Rounded(std::move(x));
  }

  Rows Rounded(Rows x) const {
    if (rounding_ == LoopRounding::kNone) return x;
    for (Row& row : x) {
      for (double& value : row)
        value = kernels::F32FromBF16(kernels::BF16FromF32(static_cast<float>(value)));
    }
    return x;
  }

  Rows Multiply(const std::string& name, const Rows& x) const {
    return MultiplyRows(checkpoint_, name, x);
  }

  const MemoryCheckpoint& checkpoint_;
  const ModelConfig& config_;
  const LoopRounding rounding_;
  const ExpertControl control_;
  mutable size_t expert_layer_ = 0;  // that is being computed
  mutable Rows kept_logits_;         // of the last layer with a gating residual
};

}  // namespace

void AddAttentionLoop(const MemoryCheckpoint& checkpoint, int layer, const DoubleRows& u,
                      DoubleRows& x) {
  ExpertLoop(checkpoint).AddAttention(layer, u, x);
}

void AddFfnLoop(const MemoryCheckpoint& checkpoint, int layer, const DoubleRows& u, DoubleRows& x) {
  ExpertLoop(checkpoint).AddFfn(layer, u, x);
}

void AddBlockLoop(const MemoryCheckpoint& checkpoint, int layer, DoubleRows& x) {
  ExpertLoop(checkpoint).AddBlock(layer, x);
}

std::vector<DoubleRows> HiddenStatesLoop(const MemoryCheckpoint& checkpoint,
                                         const std::vector<TokenId>& tokens) {
  return ExpertLoop(checkpoint).HiddenStates(tokens);
}

std::vector<double> ExpertLoopLogprobs(const MemoryCheckpoint& checkpoint,
                                       const std::vector<TokenId>& tokens, LoopRounding rounding,
                                       const ExpertControl& control) {
  const Rows logits = ExpertLoop(checkpoint, rounding, control).Logits(tokens);
  std::vector<double> logprobs;
  for (size_t t = 0; t + 1 < tokens.size(); ++t) {
    logprobs.push_back(std::log(Softmax(logits[t])[tokens[t + 1]]));
  }
  return logprobs;
}

}  // namespace peerage
