#include "bench/engine/random_models.h"

#include <algorithm>

namespace peerage {
namespace {

// PEER's tables are large: at the full size 8 GiB in bf16, so every eighth layer has one, as the
// middle layer of the paper's models.
constexpr int kPeerEvery = 8;

PeerConfig Peer(const RandomModel& model) {
  ProductKeyConfig keys;
  keys.num_sub_keys = 1 << (model.log2_experts / 2);
  keys.num_experts = int64_t{keys.num_sub_keys} * keys.num_sub_keys;
  keys.heads = 8;
  keys.top_k = static_cast<int>(std::min<int64_t>(16, keys.num_experts));
  keys.key_dim = 256;
  return {.keys = keys};
}

FfnConfig Ffn(const RandomModel& model, int layer) {
  const int intermediate = (model.width * 8 / 3 + 63) / 64 * 64;
  if (model.kind == "mixture") {
    return MixtureFfnConfig{.intermediate_size = intermediate,
                            .mixture = {.num_experts = 8, .top_k = 2, .normalize_top_k = true}};
  }
  const bool peer = layer % kPeerEvery == std::min(kPeerEvery, model.layers) / 2;
  if (model.kind == "peer" && peer) return Peer(model);
  return DenseFfnConfig{.intermediate_size = intermediate};
}

}  // namespace

ModelConfig ConfigOf(const RandomModel& model) {
  ModelConfig config;
  config.architecture = "peerage";
  config.vocab_size = model.vocabulary;
  config.hidden_size = model.width;
  config.head_dim = std::min(128, model.width / 4);
  config.num_heads = model.width / config.head_dim;
  config.num_kv_heads = std::max(1, config.num_heads / 4);
  config.max_positions = 8192;
  config.tied_embeddings = true;
  for (int layer = 0; layer < model.layers; ++layer) {
    config.layers.push_back({.ffn = {Ffn(model, layer)}});
  }
  return config;
}

}  // namespace peerage
