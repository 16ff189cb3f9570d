#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/token.h"

namespace peerage {

enum class NormType { kRmsNorm, kLayerNorm };
enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };
enum class FfnKind { kDense };

// One entry of a layer's list of feed-forward parts, whose outputs are summed.
struct FfnConfig {
  FfnKind kind = FfnKind::kDense;
  int intermediate_size = 0;
};

struct LayerConfig {
  std::vector<FfnConfig> ffn;
};

// What a model computes (docs/model_format.md), whatever file it came from. Every value is in
// range when parsing succeeded.
struct ModelConfig {
  std::string architecture;  // "peerage" or "llama"
  int vocab_size = 0;
  int hidden_size = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  Activation activation = Activation::kSilu;
  NormType norm_type = NormType::kRmsNorm;
  float norm_eps = 1e-5f;
  float rope_theta = 10000.0f;
  bool rope_interleaved = false;  // pairs (2i, 2i + 1), else (i, i + head_dim / 2)
  int max_positions = 0;
  bool tied_embeddings = false;
  bool parallel_block = false;
  std::optional<TokenId> bos_id;
  std::vector<TokenId> eos_ids;
  std::vector<LayerConfig> layers;
};

// Parses the text of a config.json (`model_type` peerage or llama). Errors name the key.
// `ignored_keys`, when given, receives the keys of a llama config that have no effect here.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json,
                                             std::vector<std::string>* ignored_keys = nullptr);

}  // namespace peerage
