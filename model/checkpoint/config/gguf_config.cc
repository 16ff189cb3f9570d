#include "model/checkpoint/config/gguf_config.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/config_limits.h"

namespace peerage {
namespace {

constexpr HeadKeys kGgufHeadKeys{"llama.attention.head_count", "llama.attention.head_count_kv",
                                 "llama.attention.key_length"};

// Numeric keys that change the function, and the value with which they do not.
struct NeutralMetadata {
  absl::string_view key;
  double neutral;
};

constexpr std::array<NeutralMetadata, 16> kNeutralMetadata = {{
    {"llama.attention.causal", 1},
    {"llama.attention.clamp_kqv", 0},
    {"llama.attention.max_alibi_bias", 0},
    {"llama.attention.scale", 0},
    {"llama.attention.sliding_window", 0},
    {"llama.attn_logit_softcapping", 0},
    {"llama.embedding_scale", 1},
    {"llama.expert_count", 0},
    {"llama.expert_used_count", 0},
    {"llama.final_logit_softcapping", 0},
    {"llama.logit_scale", 1},
    {"llama.residual_scale", 1},
    {"llama.rope.scale_linear", 1},
    {"llama.rope.scaling.attn_factor", 1},
    {"llama.rope.scaling.factor", 1},
    {"llama.use_parallel_residual", 0},
}};

// Whatever its width and type; nullopt for strings and arrays.
std::optional<double> AsNumber(const GgufValue& value) {
  if (const auto* number = std::get_if<uint64_t>(&value.value)) return *number;
  if (const auto* number = std::get_if<int64_t>(&value.value)) return *number;
  if (const auto* number = std::get_if<double>(&value.value)) return *number;
  if (const auto* flag = std::get_if<bool>(&value.value)) return *flag ? 1 : 0;
  return std::nullopt;
}

absl::Status Unsupported(absl::string_view key, absl::string_view value,
                         absl::string_view supported) {
  return absl::UnimplementedError(
      absl::StrCat(key, " is ", value, ", which is not supported (", supported, " is)"));
}

absl::Status CheckVariations(const GgufMetadata& metadata) {
  for (const auto& [key, neutral] : kNeutralMetadata) {
    const GgufValue* value = metadata.Find(key);
    if (value == nullptr) continue;
    const std::optional<double> number = AsNumber(*value);
    if (number == neutral) continue;
    const std::string text = number.has_value() ? absl::StrCat(*number) : "not a number";
    return Unsupported(key, text, absl::StrCat(neutral));
  }
  constexpr absl::string_view kScalingType = "llama.rope.scaling.type";
  ASSIGN_OR_RETURN(const std::string* scaling, metadata.String(kScalingType));
  if (scaling == nullptr || *scaling == "none") return absl::OkStatus();
  return Unsupported(kScalingType, Quoted(*scaling), "\"none\"");
}

absl::StatusOr<int> ReadInt(const GgufMetadata& metadata, absl::string_view key, IntRange range,
                            std::optional<int> fallback = {}) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> value, metadata.Integer(key));
  if (!value.has_value() && fallback.has_value()) return *fallback;
  if (!value.has_value()) return absl::InvalidArgumentError(absl::StrCat(key, " is missing"));
  if (*value < static_cast<uint64_t>(range.min) || *value > static_cast<uint64_t>(range.max)) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, " is ", *value, ", not within ", range.min, "..", range.max));
  }
  return static_cast<int>(*value);
}

absl::StatusOr<float> ReadNumber(const GgufMetadata& metadata, absl::string_view key,
                                 NumberRange range, std::optional<float> fallback = {}) {
  ASSIGN_OR_RETURN(const std::optional<double> value, metadata.Number(key));
  if (!value.has_value() && fallback.has_value()) return *fallback;
  if (!value.has_value()) return absl::InvalidArgumentError(absl::StrCat(key, " is missing"));
  if (range.Contains(*value)) return static_cast<float>(*value);
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", *value, ", not above 0 and at most ", range.max));
}

absl::StatusOr<int> ReadHeadDim(const GgufMetadata& metadata, int hidden_size, int num_heads) {
  const int quotient = hidden_size / num_heads;
  const bool divides = quotient * num_heads == hidden_size && quotient <= kHeadDimRange.max;
  ASSIGN_OR_RETURN(const int head_dim,
                   ReadInt(metadata, kGgufHeadKeys.head_dim, kHeadDimRange,
                           divides ? std::optional<int>(quotient) : std::nullopt));
  for (const char* key : {"llama.attention.value_length", "llama.rope.dimension_count"}) {
    ASSIGN_OR_RETURN(const int length, ReadInt(metadata, key, kHeadDimRange, head_dim));
    if (length != head_dim) {
      return absl::UnimplementedError(
          absl::StrCat(key, " is ", length, ", not the head's dimension ", head_dim));
    }
  }
  return head_dim;
}

absl::StatusOr<int> ReadVocabSize(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::vector<std::string>* tokens,
                   metadata.Strings("tokenizer.ggml.tokens"));
  std::optional<int> fallback;
  if (tokens != nullptr && !tokens->empty()) fallback = static_cast<int>(tokens->size());
  return ReadInt(metadata, "llama.vocab_size", kVocabSizeRange, fallback);
}

// The end of the text, of a chat turn, of a message to a tool: each ends a generation.
absl::StatusOr<std::vector<TokenId>> ReadEosIds(const GgufMetadata& metadata, int vocab_size) {
  std::vector<TokenId> ids;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    if (metadata.Find(key) == nullptr) continue;
    ASSIGN_OR_RETURN(const TokenId id, ReadInt(metadata, key, {0, vocab_size - 1}));
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

// A part of a model that was split: the first has all keys, the others have no architecture.
absl::Status CheckWhole(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> parts, metadata.Integer("split.count"));
  if (parts.value_or(1) <= 1) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<uint64_t> part, metadata.Integer("split.no"));
  return absl::UnimplementedError(
      absl::StrCat("is part ", part.value_or(0) + 1, " of ", *parts,
                   " of a split model (split.count), which is not supported: join its files with "
                   "llama.cpp's llama-gguf-split --merge"));
}

absl::Status CheckArchitecture(const GgufMetadata& metadata) {
  constexpr absl::string_view kKey = "general.architecture";
  ASSIGN_OR_RETURN(const std::string* architecture, metadata.String(kKey));
  if (architecture == nullptr) {
    RETURN_IF_ERROR(CheckWhole(metadata));
    return absl::InvalidArgumentError(absl::StrCat(kKey, " is missing"));
  }
  if (*architecture != "llama") return Unsupported(kKey, Quoted(*architecture), "\"llama\"");
  return CheckWhole(metadata);
}

std::map<std::string, std::string> DefaultsOf(const GgufMetadata& metadata,
                                              const ModelConfig& model) {
  const std::pair<const char*, std::string> optional[] = {
      {"llama.vocab_size", absl::StrCat(model.vocab_size)},
      {kGgufHeadKeys.num_kv_heads, absl::StrCat(model.num_kv_heads)},
      {kGgufHeadKeys.head_dim, absl::StrCat(model.head_dim)},
      {"llama.rope.freq_base", absl::StrCat(model.rope_theta)}};
  std::map<std::string, std::string> defaults;
  for (const auto& [key, value] : optional) {
    if (metadata.Find(key) == nullptr) defaults.emplace(key, value);
  }
  return defaults;
}

bool HasTensor(const GgufContents& contents, absl::string_view name) {
  return std::any_of(contents.tensors.begin(), contents.tensors.end(),
                     [&](const StoredTensor& tensor) { return tensor.name == name; });
}

}  // namespace

absl::StatusOr<ModelConfig> ParseGgufConfig(const GgufContents& contents) {
  const GgufMetadata& metadata = contents.metadata;
  RETURN_IF_ERROR(CheckArchitecture(metadata));
  RETURN_IF_ERROR(CheckVariations(metadata));
  ModelConfig model;
  model.architecture = "llama";
  ASSIGN_OR_RETURN(model.vocab_size, ReadVocabSize(metadata));
  ASSIGN_OR_RETURN(model.hidden_size,
                   ReadInt(metadata, "llama.embedding_length", kHiddenSizeRange));
  ASSIGN_OR_RETURN(model.num_heads, ReadInt(metadata, kGgufHeadKeys.num_heads, kNumHeadsRange));
  ASSIGN_OR_RETURN(model.num_kv_heads,
                   ReadInt(metadata, kGgufHeadKeys.num_kv_heads, kNumHeadsRange, model.num_heads));
  ASSIGN_OR_RETURN(model.head_dim, ReadHeadDim(metadata, model.hidden_size, model.num_heads));
  RETURN_IF_ERROR(CheckHeads(model, kGgufHeadKeys));
  ASSIGN_OR_RETURN(model.norm_eps,
                   ReadNumber(metadata, "llama.attention.layer_norm_rms_epsilon", kNormEpsRange));
  ASSIGN_OR_RETURN(model.rope_theta,
                   ReadNumber(metadata, "llama.rope.freq_base", kRopeThetaRange, model.rope_theta));
  ASSIGN_OR_RETURN(model.max_positions,
                   ReadInt(metadata, "llama.context_length", kMaxPositionsRange));
  model.tied_embeddings = !HasTensor(contents, "output.weight");
  const IntRange token_range{0, model.vocab_size - 1};
  if (metadata.Find("tokenizer.ggml.bos_token_id") != nullptr) {
    ASSIGN_OR_RETURN(model.bos_id, ReadInt(metadata, "tokenizer.ggml.bos_token_id", token_range));
  }
  ASSIGN_OR_RETURN(model.eos_ids, ReadEosIds(metadata, model.vocab_size));
  ASSIGN_OR_RETURN(const int num_layers, ReadInt(metadata, "llama.block_count", kNumLayersRange));
  ASSIGN_OR_RETURN(const int intermediate_size,
                   ReadInt(metadata, "llama.feed_forward_length", kIntermediateSizeRange));
  model.layers.assign(num_layers, LayerConfig{{DenseFfnConfig{intermediate_size}}});
  model.defaults = DefaultsOf(metadata, model);
  return model;
}

}  // namespace peerage
