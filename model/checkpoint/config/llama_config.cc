#include "model/checkpoint/config/llama_config.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/choice.h"
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

constexpr size_t kLongestValue = 100;

absl::Status Unsupported(const JsonObject& config, absl::string_view key, const json& value,
                         absl::string_view supported) {
  std::string text = value.dump();
  if (text.size() > kLongestValue) text = absl::StrCat(text.substr(0, kLongestValue), "...");
  return absl::UnimplementedError(
      absl::StrCat(config.PathOf(key), " is ", text, ", which is not supported (", supported, ")"));
}

absl::Status CheckNeutral(JsonObject& config, const NeutralKey& neutral) {
  const json* value = config.Find(neutral.key);
  if (value == nullptr || *value == neutral.value) return absl::OkStatus();
  return Unsupported(
      config, neutral.key, *value,
      neutral.value.is_null() ? "null is" : absl::StrCat(neutral.value.dump(), " is"));
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
    if (type != "full_attention") {
      return Unsupported(config, "layer_types", type, "\"full_attention\" is");
    }
  }
  return absl::OkStatus();
}

// `rope_scaling`, and `rope_parameters` of newer files, may hold the base and the neutral type.
// Returns the base they give, or `theta`, which was given elsewhere; both must be the same.
absl::StatusOr<std::optional<float>> ParseRope(JsonObject& config, const char* key,
                                               std::optional<float> theta) {
  const json* value = config.Find(key);
  if (value == nullptr) return theta;
  ASSIGN_OR_RETURN(JsonObject rope, JsonObject::Of(*value, key));
  for (const char* type_key : {"rope_type", "type"}) {
    const json* type = rope.Find(type_key);
    if (type != nullptr && *type != "default") {
      return Unsupported(rope, type_key, *type, "\"default\" is");
    }
  }
  const json* partial = rope.Find("partial_rotary_factor");
  if (partial != nullptr && *partial != 1.0) {
    return Unsupported(rope, "partial_rotary_factor", *partial, "1 is");
  }
  if (rope.Find("rope_theta") != nullptr) {
    ASSIGN_OR_RETURN(const float inner, rope.Number("rope_theta", kRopeThetaRange, 0));
    if (theta.value_or(inner) != inner) {
      return rope.Error("rope_theta", absl::StrCat("is ", inner, ", but rope_theta ", *theta,
                                                   " elsewhere in the config"));
    }
    theta = inner;
  }
  const std::vector<std::string> others = rope.UnreadKeys();
  if (others.empty()) return theta;
  return absl::UnimplementedError(absl::StrCat(
      others.front(), " is not supported (rope_type, partial_rotary_factor and rope_theta are)"));
}

absl::StatusOr<float> ParseRopeTheta(JsonObject& config, float fallback) {
  std::optional<float> theta;
  if (config.Find("rope_theta") != nullptr) {
    ASSIGN_OR_RETURN(theta, config.Number("rope_theta", kRopeThetaRange, fallback));
  }
  ASSIGN_OR_RETURN(theta, ParseRope(config, "rope_scaling", theta));
  ASSIGN_OR_RETURN(theta, ParseRope(config, "rope_parameters", theta));
  if (!theta.has_value()) config.NoteDefault("rope_theta", absl::StrCat(fallback));
  return theta.value_or(fallback);
}

// The names of Hugging Face's activation table; its "gelu" is the exact one.
absl::StatusOr<Activation> ParseHuggingFaceActivation(JsonObject& config) {
  constexpr Choice<Activation> kNames[] = {
      {"silu", Activation::kSilu}, {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"relu", Activation::kRelu}, {"gelu_new", Activation::kGeluTanh}};
  ASSIGN_OR_RETURN(const std::string name, config.String("hidden_act", "silu"));
  if (const std::optional<Activation> found = FindChoice(kNames, name)) return *found;
  return Unsupported(config, "hidden_act", name, absl::StrCat(ChoiceNames(kNames), " is"));
}

// All but the feed-forward part, which is left dense.
absl::StatusOr<ModelConfig> ParseBackbone(JsonObject& config, const ClassDefaults& defaults) {
  RETURN_IF_ERROR(CheckNeutralKeys(config));
  RETURN_IF_ERROR(CheckLayerTypes(config));
  ASSIGN_OR_RETURN(ModelConfig model, ParseCommonKeys(config));
  ASSIGN_OR_RETURN(model.rope_theta, ParseRopeTheta(config, defaults.rope_theta));
  ASSIGN_OR_RETURN(model.activation, ParseHuggingFaceActivation(config));
  ASSIGN_OR_RETURN(model.norm_eps, config.Number("rms_norm_eps", kNormEpsRange, defaults.norm_eps));
  ASSIGN_OR_RETURN(const int num_layers, config.Int("num_hidden_layers", kNumLayersRange));
  ASSIGN_OR_RETURN(const int intermediate_size,
                   config.Int("intermediate_size", kIntermediateSizeRange));
  model.layers.assign(num_layers, LayerConfig{{DenseFfnConfig{intermediate_size}}});
  model.defaults = config.defaults();
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
