#include "model/nn/model_builder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage::nn {
namespace {

// A batch norm with running statistics as the affine map that it is at inference:
// y = scale * x + shift (Ioffe and Szegedy 2015, Algorithm 2, line 11).
struct AffineMap {
  std::vector<float> scale;
  std::vector<float> shift;
};

absl::StatusOr<AffineMap> FoldBatchNorm(WeightLoader& loader, const std::string& prefix,
                                        float epsilon) {
  ASSIGN_OR_RETURN(const auto weight, loader.RouterVector(prefix + "weight"));
  ASSIGN_OR_RETURN(const auto bias, loader.RouterVector(prefix + "bias"));
  ASSIGN_OR_RETURN(const auto mean, loader.RouterVector(prefix + "running_mean"));
  ASSIGN_OR_RETURN(const auto variance, loader.RouterVector(prefix + "running_var"));
  AffineMap map;
  for (size_t i = 0; i < weight.size(); ++i) {
    const double scale = weight[i] / std::sqrt(double{variance[i]} + epsilon);
    map.scale.push_back(static_cast<float>(scale));
    map.shift.push_back(static_cast<float>(bias[i] - mean[i] * scale));
  }
  return map;
}

// Neighbouring heads of one attention expert.
struct HeadRange {
  int expert = 0;
  int first = 0;
  int count = 0;
};

// The order in which a mixture's heads lie side by side, so that those of one KV head are
// neighbours: expert by expert, or with shared keys and values KV head by KV head.
std::vector<HeadRange> HeadOrder(const ModelConfig& config, const AttentionConfig& attention) {
  const int groups = attention.kv == MixtureKv::kShared ? config.num_kv_heads : 1;
  const int count = config.num_heads / groups;
  std::vector<HeadRange> order;
  for (int group = 0; group < groups; ++group) {
    for (int expert = 0; expert < attention.mixture.num_experts; ++expert) {
      order.push_back({expert, group * count, count});
    }
  }
  return order;
}

}  // namespace

size_t ModelWeights::ExpertScratchBytes() const {
  size_t most = 0;
  for (const Block& block : blocks) {
    for (const FeedForward& part : block.ffn) {
      if (const auto* peer = std::get_if<Peer>(&part)) {
        most = std::max(most, peer->experts.ScratchBytes());
      } else if (const auto* memory = std::get_if<ProductKeyMemory>(&part)) {
        most = std::max(most, memory->values.ScratchBytes());
      }
    }
  }
  return most;
}

absl::StatusOr<ModelWeights> ModelBuilder::Build() {
  ModelWeights weights;
  ASSIGN_OR_RETURN(LinearLayer embedding, loader_.Linear({"model.embed_tokens.weight"}));
  weights.embedding = embedding.parts.front();
  for (size_t i = 0; i < config_.layers.size(); ++i) {
    ASSIGN_OR_RETURN(weights.blocks.emplace_back(), MakeBlock(static_cast<int>(i)));
  }
  ASSIGN_OR_RETURN(weights.final_norm, MakeNorm("model.norm.weight"));
  if (config_.tied_embeddings) {
    weights.head = std::move(embedding);
  } else {
    ASSIGN_OR_RETURN(weights.head, loader_.Linear({"lm_head.weight"}));
  }
  return weights;
}

absl::StatusOr<Norm> ModelBuilder::MakeNorm(const std::string& name) {
  ASSIGN_OR_RETURN(const float* weight, loader_.Vector(name));
  return Norm{.type = config_.norm_type,
              .epsilon = config_.norm_eps,
              .width = config_.hidden_size,
              .weight = weight};
}

absl::StatusOr<Block> ModelBuilder::MakeBlock(int index) {
  const std::string prefix = absl::StrCat("model.layers.", index, ".");
  Block block;
  block.parallel = config_.parallel_block;
  ASSIGN_OR_RETURN(block.input_norm, MakeNorm(prefix + "input_norm.weight"));
  ASSIGN_OR_RETURN(block.attention,
                   MakeAttention(config_.layers[index].attention, prefix + "attention."));
  if (!block.parallel) {
    ASSIGN_OR_RETURN(block.post_attention_norm, MakeNorm(prefix + "post_attention_norm.weight"));
  }
  for (const FfnConfig& ffn : config_.layers[index].ffn) {
    ASSIGN_OR_RETURN(block.ffn.emplace_back(), MakeFeedForward(ffn, prefix + "ffn."));
  }
  return block;
}

absl::StatusOr<AnyAttention> ModelBuilder::MakeAttention(const AttentionConfig& config,
                                                         const std::string& prefix) {
  if (config.kind == AttentionKind::kDense) return MakeDenseAttention(prefix);
  MixtureAttention mixture;
  ASSIGN_OR_RETURN(mixture.router, MakeMixtureRouter(config.mixture, prefix));
  ASSIGN_OR_RETURN(mixture.wide, MakeWideAttention(config, prefix));
  for (const HeadRange& range : HeadOrder(config_, config)) {
    mixture.expert_of_head.insert(mixture.expert_of_head.end(), range.count, range.expert);
  }
  mixture.expert_layer = next_expert_layer_++;
  return mixture;
}

absl::StatusOr<Attention> ModelBuilder::MakeDenseAttention(const std::string& prefix) {
  Attention attention;
  attention.shape = AttentionShapeOf(config_, {});
  attention.rope_interleaved = config_.rope_interleaved;
  ASSIGN_OR_RETURN(attention.qkv,
                   loader_.Linear({prefix + "q_proj.weight", prefix + "k_proj.weight",
                                   prefix + "v_proj.weight"}));
  ASSIGN_OR_RETURN(attention.output, loader_.Linear({prefix + "o_proj.weight"}));
  return attention;
}

absl::StatusOr<Attention> ModelBuilder::MakeWideAttention(const AttentionConfig& config,
                                                          const std::string& prefix) {
  const auto expert = [&](int e) { return absl::StrCat(prefix, "experts.", e, "."); };
  Attention attention;
  attention.shape = AttentionShapeOf(config_, config);
  attention.rope_interleaved = config_.rope_interleaved;
  std::vector<MatrixSlice> rows, columns;
  for (const HeadRange& range : HeadOrder(config_, config)) {
    const int64_t first = int64_t{range.first} * config_.head_dim;
    const int64_t count = int64_t{range.count} * config_.head_dim;
    rows.push_back({expert(range.expert) + "q_proj.weight", first, count});
    columns.push_back({expert(range.expert) + "o_proj.weight", first, count});
  }
  const int64_t kv_rows = int64_t{config_.num_kv_heads} * config_.head_dim;
  for (const char* name : {"k_proj.weight", "v_proj.weight"}) {
    if (config.kv == MixtureKv::kShared) {
      rows.push_back({prefix + name, 0, kv_rows});
      continue;
    }
    for (int e = 0; e < config.mixture.num_experts; ++e) {
      rows.push_back({expert(e) + name, 0, kv_rows});
    }
  }
  ASSIGN_OR_RETURN(attention.qkv, loader_.LinearOfRows(rows));
  ASSIGN_OR_RETURN(attention.output, loader_.LinearOfColumns(columns));
  return attention;
}

absl::StatusOr<MixtureRouter> ModelBuilder::MakeMixtureRouter(const MixtureConfig& config,
                                                              const std::string& prefix) {
  MixtureRouter router;
  ASSIGN_OR_RETURN(router.projection, loader_.Router({.name = prefix + "router.weight"}));
  router.top_k = config.top_k;
  router.normalize = config.normalize_top_k;
  return router;
}

absl::StatusOr<MixtureFfn> ModelBuilder::MakeMixtureFfn(const MixtureConfig& config,
                                                        const std::string& prefix) {
  MixtureFfn mixture;
  ASSIGN_OR_RETURN(mixture.router, MakeMixtureRouter(config, prefix));
  for (int e = 0; e < config.num_experts; ++e) {
    ASSIGN_OR_RETURN(mixture.experts.emplace_back(),
                     MakeDenseFfn(absl::StrCat(prefix, "experts.", e, ".")));
  }
  mixture.expert_layer = next_expert_layer_++;
  return mixture;
}

absl::StatusOr<FeedForward> ModelBuilder::MakeFeedForward(const FfnConfig& ffn,
                                                          const std::string& prefix) {
  switch (ffn.kind) {
    case FfnKind::kDense:
      return MakeDenseFfn(prefix + "dense.");
    case FfnKind::kMixture:
      return MakeMixtureFfn(ffn.mixture, prefix + "mixture.");
    case FfnKind::kPeer:
      return MakePeer(ffn.product_keys, prefix + "peer.");
    case FfnKind::kProductKeyMemory:
      return MakeMemory(ffn.product_keys, prefix + "pkm.");
  }
  return absl::InternalError("an unknown kind of feed-forward part");
}

absl::StatusOr<DenseFfn> ModelBuilder::MakeDenseFfn(const std::string& prefix) {
  DenseFfn ffn;
  ffn.activation = config_.activation;
  ASSIGN_OR_RETURN(ffn.gate_up,
                   loader_.Linear({prefix + "gate_proj.weight", prefix + "up_proj.weight"}));
  ASSIGN_OR_RETURN(ffn.down, loader_.Linear({prefix + "down_proj.weight"}));
  return ffn;
}

absl::StatusOr<Peer> ModelBuilder::MakePeer(const ProductKeyConfig& config,
                                            const std::string& prefix) {
  Peer peer;
  if (config.norm != PeerNorm::kNone) {
    // x / max(|x|, 1e-12) sqrt(d) is an RMSNorm whose epsilon only keeps zeros from becoming NaN.
    const float epsilon = config.norm == PeerNorm::kRms
                              ? config_.norm_eps
                              : 1e-24f / static_cast<float>(config_.hidden_size);
    ASSIGN_OR_RETURN(const float* weight, loader_.Vector(prefix + "norm.weight"));
    peer.norm = Norm{.type = NormType::kRmsNorm,
                     .epsilon = epsilon,
                     .width = config_.hidden_size,
                     .weight = weight};
  }
  ASSIGN_OR_RETURN(peer.experts.router, MakeRouter(config, prefix));
  peer.experts.activation = config.activation;
  std::vector<std::string> vectors = {prefix + "down.weight", prefix + "up.weight"};
  if (config.glu) vectors.insert(vectors.begin(), prefix + "gate.weight");
  ASSIGN_OR_RETURN(
      peer.experts.table,
      loader_.Experts(config.glu ? kernels::ExpertKind::kGatedNeuron : kernels::ExpertKind::kNeuron,
                      vectors));
  peer.expert_layer = next_expert_layer_++;
  return peer;
}

absl::StatusOr<ProductKeyMemory> ModelBuilder::MakeMemory(const ProductKeyConfig& config,
                                                          const std::string& prefix) {
  ProductKeyMemory memory;
  ASSIGN_OR_RETURN(memory.values.router, MakeRouter(config, prefix));
  ASSIGN_OR_RETURN(memory.values.table,
                   loader_.Experts(kernels::ExpertKind::kValue, {prefix + "values.weight"}));
  memory.expert_layer = next_expert_layer_++;
  return memory;
}

absl::StatusOr<ProductKeyRouter> ModelBuilder::MakeRouter(const ProductKeyConfig& config,
                                                          const std::string& prefix) {
  ProductKeyRouter router;
  router.heads = config.heads;
  router.top_k = config.top_k;
  router.num_sub_keys = config.num_sub_keys;
  router.head_offset = config.per_head_experts ? static_cast<uint32_t>(config.num_experts) : 0;
  router.score = config.score;
  if (config.keys == ProductKeys::kDirect) {
    ASSIGN_OR_RETURN(router.query, loader_.Router({.name = prefix + "router.weight"}));
    if (config.query_bias) {
      ASSIGN_OR_RETURN(const auto bias, loader_.RouterVector(prefix + "router.bias"));
      router.bias = loader_.Keep(bias);
    }
    return router;
  }
  RETURN_IF_ERROR(MakeQuery(config, prefix, router));
  ASSIGN_OR_RETURN(router.keys, loader_.SubKeySets(prefix + "sub_keys"));
  return router;
}

absl::Status ModelBuilder::MakeQuery(const ProductKeyConfig& config, const std::string& prefix,
                                     ProductKeyRouter& router) {
  std::vector<float> bias;
  if (config.query_bias) {
    ASSIGN_OR_RETURN(bias, loader_.RouterVector(prefix + "query.bias"));
  }
  const std::string norm = prefix + "query_norm.";
  AffineMap batch_norm;
  if (config.query_norm == QueryNorm::kBatch) {
    ASSIGN_OR_RETURN(batch_norm, FoldBatchNorm(loader_, norm, config.query_norm_eps));
    bias.resize(batch_norm.shift.size());
    for (size_t i = 0; i < bias.size(); ++i) {
      bias[i] = std::fma(bias[i], batch_norm.scale[i], batch_norm.shift[i]);
    }
  }
  if (config.query_norm == QueryNorm::kLayer) {
    ASSIGN_OR_RETURN(const auto weight, loader_.RouterVector(norm + "weight"));
    ASSIGN_OR_RETURN(const auto shift, loader_.RouterVector(norm + "bias"));
    router.layer_norm = {.weight = loader_.Keep(weight),
                         .bias = loader_.Keep(shift),
                         .epsilon = config.query_norm_eps};
  }
  ASSIGN_OR_RETURN(router.query, loader_.Router({.name = prefix + "query.weight",
                                                 .row_scales = batch_norm.scale}));
  if (!bias.empty()) router.bias = loader_.Keep(bias);
  return absl::OkStatus();
}

}  // namespace peerage::nn
