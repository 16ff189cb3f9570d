#include "tests/support/odd_models.h"

#include <utility>

#include "tests/support/mixture_models.h"

namespace peerage {
namespace {

MixtureFfnConfig OddMixture(int experts, int top_k, bool normalize) {
  return {.intermediate_size = 37,
          .mixture = {.num_experts = experts, .top_k = top_k, .normalize_top_k = normalize}};
}

// Everything that a layout of PEER may have at once.
PeerConfig RichPeer() {
  ProductKeyConfig keys = OddKeys(9, 5, 7);
  keys.keys = ProductKeys::kPerHead;
  keys.per_head_experts = true;
  keys.query_bias = true;
  keys.query_norm = QueryNorm::kBatch;
  keys.query_norm_eps = 1e-3f;
  keys.score = RouterScore::kSigmoid;
  return {.keys = keys, .activation = Activation::kSilu, .glu = true, .norm = PeerNorm::kRms};
}

// More picks than sub-keys.
ProductKeyConfig DirectKeys(RouterScore score, bool bias) {
  ProductKeyConfig keys = OddKeys(5, 3, 11);
  keys.keys = ProductKeys::kDirect;
  keys.key_dim = 0;
  keys.query_bias = bias;
  keys.score = score;
  return keys;
}

ProductKeyMemoryConfig NormedMemory() {
  ProductKeyConfig keys = OddKeys(17, 2, 3);
  keys.query_norm = QueryNorm::kLayer;
  keys.query_bias = true;
  keys.score = RouterScore::kJointSoftmax;
  return {keys};
}

ModelConfig PeerModel() {
  ModelConfig config = OddConfig();
  config.layers[0].ffn = {PeerConfig{.keys = OddKeys(23, 3, 6)}};
  config.layers[1].ffn = {RichPeer()};
  config.layers[2].ffn = {DenseFfnConfig{33},
                          PeerConfig{.keys = DirectKeys(RouterScore::kRelu, true),
                                     .activation = Activation::kGeluTanh}};
  return config;
}

ModelConfig MemoryModel() {
  ModelConfig config = OddConfig();
  config.norm_type = NormType::kLayerNorm;
  config.layers[0].ffn = {ProductKeyMemoryConfig{OddKeys(11, 1, 1)}};
  config.layers[1].ffn = {DenseFfnConfig{7}, NormedMemory()};
  PeerConfig scaled{.keys = OddKeys(6, 2, 36), .norm = PeerNorm::kL2};
  scaled.activation = Activation::kRelu;
  config.layers[2].ffn = {scaled, ProductKeyMemoryConfig{DirectKeys(RouterScore::kSoftmax, false)}};
  return config;
}

ModelConfig MixtureModelOfAll(bool parallel) {
  ModelConfig config = OddConfig();
  config.parallel_block = parallel;
  config.tied_embeddings = false;
  config.layers[0] = {.ffn = {OddMixture(5, 2, true)},
                      .attention = SoftAttention(3, MixtureKv::kShared)};
  config.layers[1] = {.ffn = {DenseFfnConfig{31}, OddMixture(3, 3, false)},
                      .attention = TopKAttention(SoftAttention(4, MixtureKv::kExpert), 2, false)};
  config.layers[2] = {.ffn = {PeerConfig{.keys = OddKeys(7, 2, 5)}, OddMixture(4, 1, false)},
                      .attention = TopKAttention(SoftAttention(3, MixtureKv::kShared), 1, true)};
  return config;
}

}  // namespace

ModelConfig OddConfig() {
  ModelConfig config;
  config.architecture = "peerage";
  config.vocab_size = 97;
  config.hidden_size = 33;
  config.num_heads = 6;
  config.num_kv_heads = 3;
  config.head_dim = 10;
  config.norm_eps = 3e-4f;
  config.rope_theta = 700;
  config.max_positions = 257;
  config.tied_embeddings = true;
  config.layers.assign(3, LayerConfig{.ffn = {DenseFfnConfig{31}}});
  return config;
}

ProductKeyConfig OddKeys(int n, int heads, int top_k, int key_dim) {
  ProductKeyConfig keys;
  keys.num_sub_keys = n;
  keys.num_experts = int64_t{n} * n;
  keys.heads = heads;
  keys.top_k = top_k;
  keys.key_dim = key_dim;
  return keys;
}

ModelConfig OddModel(const AttentionConfig& attention, std::vector<FfnConfig> ffn) {
  ModelConfig config = OddConfig();
  config.layers.assign(3, LayerConfig{.ffn = std::move(ffn), .attention = attention});
  return config;
}

std::vector<NamedModel> OddModels() {
  ModelConfig interleaved = OddConfig();
  interleaved.rope_interleaved = true;
  interleaved.parallel_block = true;
  interleaved.num_kv_heads = 1;
  interleaved.norm_type = NormType::kLayerNorm;
  interleaved.activation = Activation::kGelu;
  interleaved.tied_embeddings = false;
  return {{"Dense", OddConfig()},
          {"DenseParallel", interleaved},
          {"Peer", PeerModel()},
          {"Memory", MemoryModel()},
          {"Mixtures", MixtureModelOfAll(false)},
          {"MixturesParallel", MixtureModelOfAll(true)}};
}

std::vector<NamedModel> LongProductModels() {
  ModelConfig config = OddConfig();
  config.num_heads = 12;
  config.num_kv_heads = 6;
  config.head_dim = 42;
  const DenseFfnConfig dense{520};
  const PeerConfig peer{.keys = OddKeys(7, 2, 5)};
  config.layers[0].ffn = {dense};
  config.layers[1].ffn = {peer};
  config.layers[2].ffn = {dense, peer};
  ModelConfig parallel = config;
  parallel.hidden_size = 72;
  parallel.norm_type = NormType::kLayerNorm;
  parallel.parallel_block = true;
  return {{"LongProducts", config}, {"LongProductsParallel", parallel}};
}

NamedModel OddMoePlusPlus() {
  MixtureFfnConfig plain = OddMixture(3, 4, false);
  plain.zero_experts = 2;
  plain.copy_experts = 1;
  plain.constant_experts = 2;
  MixtureFfnConfig residual = plain;
  residual.mixture.top_k = 2;
  residual.gating_residual = true;
  ModelConfig config = OddConfig();
  config.layers[0].ffn = {residual};
  config.layers[1].ffn = {plain};
  config.layers[2].ffn = {DenseFfnConfig{7}, residual};
  return {"MoePlusPlus", config};
}

}  // namespace peerage
