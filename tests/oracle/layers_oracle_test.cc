// Whole layers beside ATen in f64: small models of one block, computed as literally as ATen's
// operators allow. PEER scores all n^2 pairs of sub-keys, a mixture computes every expert.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "model/nn/load_model.h"
#include "tests/oracle/aten.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/mixture_models.h"
#include "tests/support/sequence_feed.h"

namespace peerage {
namespace {

constexpr char kBlock[] = "model.layers.0.";
constexpr int kTokens = 41;

// What a part gives, and what its router picked of each token: [tokens, heads, top_k] each.
struct PartResult {
  at::Tensor y, ids, weights;
};

class AtenModel {
 public:
  explicit AtenModel(const MemoryCheckpoint& checkpoint)
      : checkpoint_(checkpoint), config_(checkpoint.config()) {}

  struct Result {
    at::Tensor logprobs;             // [tokens, vocabulary], of what follows each token
    PartResult part;                 // of the block's only feed-forward part
    std::vector<at::Tensor> hidden;  // [tokens, hidden_size] of each layer of HiddenRow
  };
  Result Run(const std::vector<TokenId>& tokens) const {
    const at::Tensor ids = at::empty({static_cast<int64_t>(tokens.size())}, at::kLong);
    std::copy(tokens.begin(), tokens.end(), ids.data_ptr<int64_t>());
    const at::Tensor embedding = Weight("model.embed_tokens.weight");
    const at::Tensor embedded = embedding.index_select(0, ids);
    at::Tensor x = embedded;
    x = x + Attention(Norm(x, std::string(kBlock) + "input_norm.weight"));
    const at::Tensor u = Norm(x, std::string(kBlock) + "post_attention_norm.weight");
    PartResult part =
        std::visit([&](const auto& ffn) { return Ffn(ffn, u); }, config_.layers[0].ffn.front());
    x = x + part.y;
    const at::Tensor normed = Norm(x, "model.norm.weight");
    return {
        at::log_softmax(at::linear(normed, embedding), -1), std::move(part), {embedded, x, normed}};
  }

 private:
  at::Tensor Weight(const std::string& name) const {
    return Doubles(checkpoint_.values(name), checkpoint_.Find(name)->shape);
  }

  at::Tensor Norm(const at::Tensor& x, const std::string& weight) const {
    return at::rms_norm(x, {config_.hidden_size}, Weight(weight), config_.norm_eps);
  }

  // [tokens, heads * head_dim] to [1, heads, tokens, head_dim], turned by position.
  at::Tensor Heads(const at::Tensor& x, bool rotate) const {
    const int64_t dim = config_.head_dim;
    const at::Tensor heads = x.view({x.size(0), -1, dim}).transpose(0, 1);
    if (!rotate) return heads.unsqueeze(0);
    const at::Tensor power = at::arange(0, dim, 2, at::kDouble) / -static_cast<double>(dim);
    const at::Tensor angle = at::outer(at::arange(x.size(0), at::kDouble),
                                       at::pow(at::Scalar(double{config_.rope_theta}), power));
    const at::Tensor a = heads.narrow(-1, 0, dim / 2), b = heads.narrow(-1, dim / 2, dim / 2);
    return at::cat({a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()}, -1)
        .unsqueeze(0);
  }

  at::Tensor Attention(const at::Tensor& u) const {
    const std::string prefix = std::string(kBlock) + "attention.";
    const auto project = [&](const char* name, bool rotate) {
      return Heads(at::linear(u, Weight(prefix + name)), rotate);
    };
    const int64_t group = config_.num_heads / config_.num_kv_heads;
    const at::Tensor out = at::scaled_dot_product_attention(
        project("q_proj.weight", true), project("k_proj.weight", true).repeat_interleave(group, 1),
        project("v_proj.weight", false).repeat_interleave(group, 1), {}, 0.0, /*is_causal=*/true);
    return at::linear(out.squeeze(0).transpose(0, 1).reshape({u.size(0), -1}),
                      Weight(prefix + "o_proj.weight"));
  }

  at::Tensor DenseFfn(const std::string& prefix, const at::Tensor& u) const {
    const at::Tensor gate = at::silu(at::linear(u, Weight(prefix + "gate_proj.weight")));
    const at::Tensor up = at::linear(u, Weight(prefix + "up_proj.weight"));
    return at::linear(gate * up, Weight(prefix + "down_proj.weight"));
  }

  PartResult Ffn(const DenseFfnConfig&, const at::Tensor& u) const {
    return {.y = DenseFfn(std::string(kBlock) + "ffn.dense.", u)};
  }

  // Values are found as PEER's experts are; that alone is nothing new to compare.
  PartResult Ffn(const ProductKeyMemoryConfig&, const at::Tensor&) const { std::abort(); }

  // y = sum of the kept gates times their experts.
  PartResult Ffn(const MixtureFfnConfig& ffn, const at::Tensor& u) const {
    const std::string prefix = std::string(kBlock) + "ffn.mixture.";
    std::vector<at::Tensor> outputs;
    for (int e = 0; e < ffn.mixture.num_experts; ++e) {
      outputs.push_back(DenseFfn(prefix + "experts." + std::to_string(e) + ".", u));
    }
    const at::Tensor p = at::softmax(at::linear(u, Weight(prefix + "router.weight")), -1);
    auto [gates, ids] = at::topk(p, ffn.mixture.top_k);
    if (ffn.mixture.normalize_top_k) gates = gates / gates.sum(-1, true);
    const at::Tensor all = at::stack(outputs, 1);  // [tokens, experts, d]
    const at::Tensor chosen = all.gather(1, ids.unsqueeze(-1).expand({-1, -1, u.size(1)}));
    return {(chosen * gates.unsqueeze(-1)).sum(1), ids.unsqueeze(1), gates.unsqueeze(1)};
  }

  // PEER (arXiv 2407.04153, section 2): of each head the top_k of all n^2 sums of two scores, their
  // softmax, and one neuron an expert.
  PartResult Ffn(const PeerConfig& peer, const at::Tensor& u) const {
    const std::string prefix = std::string(kBlock) + "ffn.peer.";
    const ProductKeyConfig& keys = peer.keys;
    const int64_t tokens = u.size(0), n = keys.num_sub_keys;
    const at::Tensor query = at::linear(u, Weight(prefix + "query.weight"))
                                 .view({tokens, keys.heads, 2, keys.key_dim / 2});
    at::Tensor sub_keys = Weight(prefix + "sub_keys");
    if (keys.keys == ProductKeys::kShared)
      sub_keys = sub_keys.unsqueeze(0).expand({keys.heads, -1, -1, -1});
    const at::Tensor scores = at::einsum("thbk,hbnk->thbn", {query, sub_keys});
    const at::Tensor sums = (scores.select(2, 0).unsqueeze(-1) + scores.select(2, 1).unsqueeze(-2))
                                .reshape({tokens, keys.heads, n * n});
    const auto [best, ids] = at::topk(sums, keys.top_k);
    const at::Tensor weights = at::softmax(best, -1);
    const auto vectors = [&](const char* name) {  // [tokens, heads * top_k, d]
      return Weight(prefix + name).index_select(0, ids.flatten()).view({tokens, -1, u.size(1)});
    };
    const at::Tensor x = u.unsqueeze(1);
    at::Tensor hidden = (vectors("down.weight") * x).sum(-1);
    if (peer.glu) {
      hidden = at::gelu((vectors("gate.weight") * x).sum(-1), "none") * hidden;
    } else {
      hidden = at::gelu(hidden, "none");
    }
    hidden = hidden * weights.view({tokens, -1});
    return {at::einsum("te,ted->td", {hidden, vectors("up.weight")}), ids, weights};
  }

  const MemoryCheckpoint& checkpoint_;
  const ModelConfig& config_;
};

ModelConfig OneBlock(const FfnConfig& ffn) {
  ModelConfig config = SmallConfig();
  config.layers.resize(1);
  config.layers[0].ffn = {ffn};
  return config;
}

// The picks of each token in the order of their ids.
std::vector<std::pair<uint32_t, float>> Sorted(const uint32_t* ids, const float* weights, int k) {
  std::vector<std::pair<uint32_t, float>> picks;
  for (int i = 0; i < k; ++i) picks.emplace_back(ids[i], weights[i]);
  std::sort(picks.begin(), picks.end());
  return picks;
}

void ExpectSamePicks(const FeedResult& fed, const PartResult& part) {
  ASSERT_EQ(fed.ids.size(), 1u);
  const int k = static_cast<int>(part.ids.size(-1));
  const at::Tensor ids = part.ids.contiguous(), weights = part.weights.contiguous();
  ASSERT_LE(fed.ids[0].size(), static_cast<size_t>(ids.numel()));
  for (size_t first = 0; first < fed.ids[0].size(); first += k) {
    std::vector<uint32_t> expected_ids(ids.data_ptr<int64_t>() + first,
                                       ids.data_ptr<int64_t>() + first + k);
    std::vector<float> expected_weights(weights.data_ptr<double>() + first,
                                        weights.data_ptr<double>() + first + k);
    const auto expected = Sorted(expected_ids.data(), expected_weights.data(), k);
    const auto actual = Sorted(&fed.ids[0][first], &fed.weights[0][first], k);
    for (int i = 0; i < k; ++i) {
      ASSERT_EQ(actual[i].first, expected[i].first) << "row " << first / k;
      ASSERT_NEAR(actual[i].second, expected[i].second, 1e-5) << "row " << first / k;
    }
  }
}

void ExpectSameHidden(LanguageModel& model, const std::vector<TokenId>& tokens,
                      const std::vector<at::Tensor>& expected) {
  for (size_t layer = 0; layer < expected.size(); ++layer) {
    const auto rows =
        FeedForHidden(model, {{tokens, {0, 1}}}, {static_cast<int32_t>(layer)}, 17)[0];
    const at::Tensor wanted = expected[layer].contiguous();
    const int64_t width = wanted.size(-1);
    for (int64_t t = 0; t + 1 < kTokens; ++t) {
      ASSERT_EQ(rows[t].size(), static_cast<size_t>(width));
      for (int64_t i = 0; i < width; ++i) {
        ASSERT_NEAR(rows[t][i], wanted.data_ptr<double>()[t * width + i], 2e-5)
            << "layer " << layer << ", token " << t;
      }
    }
  }
}

void ExpectAsAten(const FfnConfig& ffn, uint32_t seed) {
  const MemoryCheckpoint checkpoint(OneBlock(ffn), seed);
  const std::vector<TokenId> tokens = Prompt(kTokens, 11);
  const auto [logprobs, part, hidden] = AtenModel(checkpoint).Run(tokens);
  for (const int threads : {1, 2}) {
    const auto model = LoadSmall(checkpoint, {.threads = threads});
    const FeedResult fed = Feed(*model, {{tokens, {0, 1}}});
    ASSERT_EQ(fed.logprobs[0].size(), tokens.size() - 1);
    for (int64_t t = 0; t + 1 < kTokens; ++t) {
      const double expected = logprobs[t][static_cast<int64_t>(tokens[t + 1])].item<double>();
      EXPECT_NEAR(fed.logprobs[0][t], expected, 2e-5) << "token " << t;
    }
    if (part.ids.defined()) ExpectSamePicks(fed, part);
    ExpectSameHidden(*model, tokens, hidden);
  }
}

TEST(LayersOracle, ADenseBlock) { ExpectAsAten(DenseFfnConfig{.intermediate_size = 97}, 1); }

TEST(LayersOracle, AMixtureOfFeedForwardExperts) {
  ExpectAsAten(MixtureFfnPart(5, 2, true), 2);
  ExpectAsAten(MixtureFfnPart(4, 3, false), 3);
  ExpectAsAten(MixtureFfnPart(3, 3, false), 4);  // soft
}

TEST(LayersOracle, Peer) {
  PeerConfig peer{
      .keys = {.num_experts = 23 * 23, .num_sub_keys = 23, .heads = 3, .top_k = 8, .key_dim = 22}};
  ExpectAsAten(peer, 5);
  peer.keys.keys = ProductKeys::kPerHead;
  peer.glu = true;
  ExpectAsAten(peer, 6);
  peer.keys.top_k = 40;  // above n
  ExpectAsAten(peer, 7);
}

}  // namespace
}  // namespace peerage
