#pragma once

#include <string>
#include <vector>

#include "model/config/model_config.h"

namespace peerage {

// Models whose sizes are no multiples of anything that kernels like.

// 3 dense layers: 97 tokens, d 33, 6 heads of 10 on 3 KV heads, 31 hidden values.
ModelConfig OddConfig();

// Product keys over n * n experts.
ProductKeyConfig OddKeys(int n, int heads, int top_k, int key_dim = 14);

// The same model with every layer made of one attention and some feed-forward parts.
ModelConfig OddModel(const AttentionConfig& attention, std::vector<FfnConfig> ffn);

// Models that have, between them, every kind of layer with every choice that its config has.
struct NamedModel {
  std::string name;  // letters and digits
  ModelConfig config;
};
std::vector<NamedModel> OddModels();

// Models of which a CUDA device with bf16 activations divides the long products: attention's output
// and dense layers'. A dense layer, PEER, both in one layer; sequential, and parallel of other
// widths.
std::vector<NamedModel> LongProductModels();

// Mixtures of experts of which some cost nothing, with gating residuals past a layer without one.
NamedModel OddMoePlusPlus();

}  // namespace peerage
