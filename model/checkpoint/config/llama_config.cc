#include "model/checkpoint/config/llama_config.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/common_config.h"
#include "model/checkpoint/config/config_limits.h"

namespace peerage {
namespace {

using nlohmann::json;

// What Hugging Face's config classes assume for absent keys.
struct ClassDefaults {
  float norm_eps;
  float rope_theta;
};
constexpr ClassDefaults kLlamaDefaults{1e-6f, 1e4f}, kMixtralDefaults{1e-5f, 1e6f};

// Keys that change the function, and the one value besides null with which they do not.
// `nullptr` allows null only.
struct NeutralKey {
  const char* key;
  json value;
};

const std::vector<NeutralKey>& NeutralKeys() {
  static const auto& keys = *new std::vector<NeutralKey>{
      {"attention_bias", false},
      {"attention_multiplier", nullptr},
      {"attn_logit_softcapping", nullptr},
      {"clip_qkv", nullptr},
      {"embedding_multiplier", 1.0},
      {"final_logit_softcapping", nullptr},
      {"is_encoder_decoder", false},
      {"logit_scale", 1.0},
      {"logits_scaling", 1.0},
      {"mlp_bias", false},
      {"no_rope_layer_interval", nullptr},
      {"no_rope_layers", nullptr},
      {"num_experts", 0},
      {"partial_rotary_factor", 1.0},
      {"qk_norm", false},
      {"quantization_config", nullptr},
      {"query_pre_attn_scalar", nullptr},
      {"residual_multiplier", 1.0},
      {"rope_interleaved", false},
      {"sliding_window", nullptr},
      {"use_qk_norm", false},
      {"use_sliding_window", false},
  };
  return keys;
}

std::string ValueText(const json& value) {
  if (value.is_structured()) return "set";
  return value.is_string() ? Quoted(value.get_ref<const std::string&>()) : value.dump();
}

absl::Status Unsupported(const JsonObject& config, absl::string_view key, const json& value) {
  return absl::UnimplementedError(absl::StrCat(config.PathOf(key), " is ", ValueText(value),
                                               ", which is not supported by this build"));
}

absl::Status CheckNeutral(JsonObject& config, const NeutralKey& neutral) {
  const json* value = config.Find(neutral.key);
  if (value == nullptr || *value == neutral.value) return absl::OkStatus();
  return Unsupported(config, neutral.key, *value);
}

absl::Status CheckNeutralKeys(JsonObject& config) {
  for (const NeutralKey& key : NeutralKeys()) RETURN_IF_ERROR(CheckNeutral(config, key));
  return absl::OkStatus();
}

absl::Status CheckLayerTypes(JsonObject& config) {
  const json* types = config.Find("layer_types");
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array()) return config.Error("layer_types", "is not a list");
  for (const json& type : *types) {
    if (type != "full_attention") return Unsupported(config, "layer_types", type);
  }
  return absl::OkStatus();
}

// `rope_scaling`, and `rope_parameters` of newer files, may hold the base and the neutral type.
// Returns the base they give, or the fallback; a base that the config gives must be the same.
absl::StatusOr<float> ParseRope(JsonObject& config, const char* key, float fallback) {
  const json* value = config.Find(key);
  if (value == nullptr) return fallback;
  ASSIGN_OR_RETURN(JsonObject rope, JsonObject::Of(*value, key));
  for (const char* type_key : {"rope_type", "type"}) {
    const json* type = rope.Find(type_key);
    if (type != nullptr && *type != "default") return Unsupported(rope, type_key, *type);
  }
  const json* partial = rope.Find("partial_rotary_factor");
  if (partial != nullptr && *partial != 1.0) {
    return Unsupported(rope, "partial_rotary_factor", *partial);
  }
  ASSIGN_OR_RETURN(const float theta, rope.Number("rope_theta", kRopeThetaRange, fallback));
  if (config.Find("rope_theta") != nullptr && theta != fallback) {
    return rope.Error("rope_theta",
                      absl::StrCat("is ", theta, ", but rope_theta ", fallback, " in the config"));
  }
  const std::vector<std::string> others = rope.UnreadKeys();
  if (others.empty()) return theta;
  return absl::UnimplementedError(absl::StrCat(others.front(), " is not supported by this build"));
}

// The names of Hugging Face's activation table; its "gelu" is the exact one.
absl::StatusOr<Activation> ParseHuggingFaceActivation(JsonObject& config) {
  ASSIGN_OR_RETURN(const std::string name, config.String("hidden_act", "silu"));
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  return absl::UnimplementedError(
      absl::StrCat("hidden_act ", Quoted(name), " is not supported by this build"));
}

// All but the feed-forward part, which is left dense.
absl::StatusOr<ModelConfig> ParseBackbone(JsonObject& config, const ClassDefaults& defaults) {
  RETURN_IF_ERROR(CheckNeutralKeys(config));
  RETURN_IF_ERROR(CheckLayerTypes(config));
  ASSIGN_OR_RETURN(ModelConfig model, ParseCommonKeys(config));
  if (config.Find("rope_theta") == nullptr) model.rope_theta = defaults.rope_theta;
  ASSIGN_OR_RETURN(model.rope_theta, ParseRope(config, "rope_scaling", model.rope_theta));
  ASSIGN_OR_RETURN(model.rope_theta, ParseRope(config, "rope_parameters", model.rope_theta));
  ASSIGN_OR_RETURN(model.activation, ParseHuggingFaceActivation(config));
  ASSIGN_OR_RETURN(model.norm_eps, config.Number("rms_norm_eps", kNormEpsRange, defaults.norm_eps));
  ASSIGN_OR_RETURN(const int num_layers, config.Int("num_hidden_layers", kNumLayersRange));
  ASSIGN_OR_RETURN(const int intermediate_size,
                   config.Int("intermediate_size", kIntermediateSizeRange));
  model.layers.assign(num_layers, LayerConfig{{DenseFfnConfig{intermediate_size}}});
  return model;
}

}  // namespace

absl::StatusOr<LlamaConfig> ParseLlamaConfig(JsonObject config) {
  RETURN_IF_ERROR(CheckNeutral(config, {"num_local_experts", 0}));
  ASSIGN_OR_RETURN(ModelConfig model, ParseBackbone(config, kLlamaDefaults));
  model.architecture = "llama";
  return LlamaConfig{std::move(model), config.UnreadKeys()};
}

absl::StatusOr<LlamaConfig> ParseMixtralConfig(JsonObject config) {
  ASSIGN_OR_RETURN(ModelConfig model, ParseBackbone(config, kMixtralDefaults));
  model.architecture = "mixtral";
  RETURN_IF_ERROR(config.Int("num_key_value_heads", kNumHeadsRange).status());
  MixtureConfig mixture{.normalize_top_k = true};
  ASSIGN_OR_RETURN(mixture.num_experts, config.Int("num_local_experts", kMixtureExpertsRange));
  ASSIGN_OR_RETURN(mixture.top_k,
                   config.Int("num_experts_per_tok", IntRange{1, mixture.num_experts}));
  for (LayerConfig& layer : model.layers) {
    const int intermediate_size = std::get<DenseFfnConfig>(layer.ffn[0]).intermediate_size;
    layer.ffn[0] = MixtureFfnConfig{intermediate_size, mixture};
  }
  RETURN_IF_ERROR(CheckMixtureExperts(model));
  return LlamaConfig{std::move(model), config.UnreadKeys()};
}

}  // namespace peerage
