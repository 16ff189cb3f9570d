#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/config/activation.h"
#include "model/token.h"

namespace peerage {

enum class NormType { kRmsNorm, kLayerNorm };
enum class AttentionKind { kDense, kMixture };

// Whether each attention expert has keys and values of its own, or all share one projection.
enum class MixtureKv { kExpert, kShared };

// How tokens meet the experts of a mixture (docs/model_format.md): gates are a softmax over all
// experts, of which the top_k largest count.
struct MixtureConfig {
  int num_experts = 0;
  int top_k = 0;                               // num_experts: soft routing
  bool normalize_top_k = false;                // the kept gates are divided by their sum
  std::vector<std::string> expert_names = {};  // [num_experts], or empty

  bool is_soft() const { return top_k == num_experts; }
  bool operator==(const MixtureConfig&) const = default;
};

struct AttentionConfig {
  AttentionKind kind = AttentionKind::kDense;
  MixtureKv kv = MixtureKv::kExpert;  // mixture
  MixtureConfig mixture = {};

  int num_experts() const { return kind == AttentionKind::kMixture ? mixture.num_experts : 1; }
  // Of which each has keys and values of its own.
  int num_kv_experts() const { return kv == MixtureKv::kExpert ? num_experts() : 1; }
  bool operator==(const AttentionConfig&) const = default;
};

// A gated feed-forward part (`dense`).
struct DenseFfnConfig {
  int intermediate_size = 0;

  bool operator==(const DenseFfnConfig&) const = default;
};

// A mixture of gated feed-forward experts (`mixture`), and of experts that cost next to nothing
// (MoE++, Jin et al. 2024). Ids of experts are in the order of these fields.
struct MixtureFfnConfig {
  int intermediate_size = 0;     // of each feed-forward expert
  MixtureConfig mixture = {};    // its num_experts are the feed-forward experts
  int zero_experts = 0;          // give nothing
  int copy_experts = 0;          // give what they read
  int constant_experts = 0;      // give a mix of what they read and a vector of their own
  bool gating_residual = false;  // logits add a map of those of the nearest earlier such layer

  int total_experts() const {
    return mixture.num_experts + zero_experts + copy_experts + constant_experts;
  }
  bool operator==(const MixtureFfnConfig&) const = default;
};

// Who owns the sub-keys. kDirect: none; a matrix gives the scores of both halves from x (Doge).
enum class ProductKeys { kShared, kPerHead, kDirect };
enum class QueryNorm { kNone, kBatch, kLayer };

// How experts (`peer`) or values (`pkm`) are found by product keys.
struct ProductKeyConfig {
  int64_t num_experts = 0;  // num_sub_keys squared; of each head with per_head_experts
  int num_sub_keys = 0;     // n, of each half
  int heads = 0;
  int top_k = 0;    // of each head; at most num_experts, and may be above num_sub_keys
  int key_dim = 0;  // of both halves together; 0 with direct keys
  ProductKeys keys = ProductKeys::kShared;
  bool per_head_experts = false;
  bool query_bias = false;  // with direct keys: whether router.bias is there
  QueryNorm query_norm = QueryNorm::kNone;
  float query_norm_eps = 1e-5f;
  RouterScore score = RouterScore::kSoftmax;

  int64_t table_rows() const { return per_head_experts ? heads * num_experts : num_experts; }
  // Experts that one token can meet at most: an expert that two heads pick is one.
  int64_t selected_rows() const { return std::min(int64_t{heads} * top_k, table_rows()); }
  bool operator==(const ProductKeyConfig&) const = default;
};

// What x is normalised with before query and experts. kL2: x / max(|x|, 1e-12) * sqrt(d).
enum class PeerNorm { kNone, kRms, kL2 };
// Under whose names and orders a checkpoint has the tensors (docs/model_format.md).
enum class PeerLayout { kPeerage, kLucidrains, kMetaMemory, kOstix360, kDoge, kOmniMoe };

// Experts of one neuron each, found by product keys (`peer`).
struct PeerConfig {
  ProductKeyConfig keys = {};
  Activation activation = Activation::kGelu;
  bool glu = false;
  PeerNorm norm = PeerNorm::kNone;
  PeerLayout layout = PeerLayout::kPeerage;

  bool operator==(const PeerConfig&) const = default;
};

// Values found by product keys (`pkm`).
struct ProductKeyMemoryConfig {
  ProductKeyConfig keys = {};

  bool operator==(const ProductKeyMemoryConfig&) const = default;
};

// One entry of a layer's list of feed-forward parts, whose outputs are summed.
using FfnConfig =
    std::variant<DenseFfnConfig, MixtureFfnConfig, PeerConfig, ProductKeyMemoryConfig>;

struct LayerConfig {
  std::vector<FfnConfig> ffn;
  AttentionConfig attention = {};

  bool operator==(const LayerConfig&) const = default;
};

// What a model computes (docs/model_format.md), whatever file it came from. Every value is in
// range when parsing succeeded.
struct ModelConfig {
  std::string architecture;  // "peerage", "llama" or "mixtral"
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
  // What stands for keys that the file leaves open, by the names that it would have for them.
  std::map<std::string, std::string> defaults;

  bool operator==(const ModelConfig&) const = default;
};

}  // namespace peerage
