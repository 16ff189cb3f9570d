#include "model/checkpoint/config/peerage_config.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/choice.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/common_config.h"
#include "model/checkpoint/config/config_limits.h"
#include "model/checkpoint/config/mixture_config.h"
#include "model/checkpoint/config/product_key_config.h"
#include "model/config/choices.h"

namespace peerage {
namespace {

using nlohmann::json;

constexpr absl::string_view kArchitecture = "PeerageForCausalLM";
constexpr IntRange kFormatVersionRange{1, 1};

absl::Status CheckArchitectures(JsonObject& config) {
  const json* architectures = config.Find("architectures");
  if (architectures == nullptr || *architectures == json::array({kArchitecture})) {
    return absl::OkStatus();
  }
  return config.Error("architectures", absl::StrCat("is not [", Quoted(kArchitecture), "]"));
}

absl::StatusOr<AttentionConfig> ParseAttentionOf(JsonObject& owner, const json& value) {
  ASSIGN_OR_RETURN(JsonObject attention, owner.Inner(value, owner.PathOf("attention")));
  return ParseAttention(std::move(attention));
}

absl::StatusOr<FfnConfig> ParseDenseFfn(JsonObject& entry, int intermediate_size) {
  DenseFfnConfig ffn;
  ASSIGN_OR_RETURN(ffn.intermediate_size,
                   entry.Int("intermediate_size", kIntermediateSizeRange, intermediate_size));
  return ffn;
}

// Reads the fields of an `ffn` entry of one kind; the model's intermediate_size is for an entry
// without one.
using FfnParser = absl::StatusOr<FfnConfig> (*)(JsonObject& entry, int intermediate_size);
constexpr Choice<FfnParser> kFfnParsers[] = {{"dense", ParseDenseFfn},
                                             {"mixture", ParseMixtureFfn},
                                             {"peer", ParsePeer},
                                             {"pkm", ParseProductKeyMemory}};

absl::StatusOr<FfnConfig> ParseFfnEntry(JsonObject entry, int intermediate_size) {
  ASSIGN_OR_RETURN(const FfnParser parse, ParseChoice(entry, "kind", kFfnParsers));
  ASSIGN_OR_RETURN(FfnConfig ffn, parse(entry, intermediate_size));
  RETURN_IF_ERROR(entry.RefuseUnreadKeys());
  return ffn;
}

// A list of parts of different kinds, at least one.
absl::StatusOr<std::vector<FfnConfig>> ParseFfnOf(JsonObject& owner, const json& value,
                                                  int intermediate_size) {
  const std::string path = owner.PathOf("ffn");
  if (!value.is_array() || value.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a list with entries"));
  }
  std::vector<FfnConfig> parts;
  for (const json& element : value) {
    const std::string entry_path = absl::StrCat(path, "[", parts.size(), "]");
    ASSIGN_OR_RETURN(JsonObject entry, owner.Inner(element, entry_path));
    ASSIGN_OR_RETURN(const FfnConfig part, ParseFfnEntry(std::move(entry), intermediate_size));
    for (const FfnConfig& other : parts) {
      if (other.index() == part.index()) {
        return absl::InvalidArgumentError(
            absl::StrCat(entry_path, ".kind is there twice in this layer"));
      }
    }
    parts.push_back(part);
  }
  return parts;
}

// "0", "15": plain, and below the number of layers.
std::optional<int> ParseLayerIndex(const std::string& key, int num_layers) {
  int index = 0;
  if (!absl::SimpleAtoi(key, &index) || absl::StrCat(index) != key) return std::nullopt;
  if (index < 0 || index >= num_layers) return std::nullopt;
  return index;
}

absl::StatusOr<LayerConfig> ParseLayerOverride(JsonObject override, LayerConfig layer,
                                               int intermediate_size) {
  if (const json* attention = override.Find("attention")) {
    ASSIGN_OR_RETURN(layer.attention, ParseAttentionOf(override, *attention));
  }
  if (const json* ffn = override.Find("ffn")) {
    ASSIGN_OR_RETURN(layer.ffn, ParseFfnOf(override, *ffn, intermediate_size));
  }
  RETURN_IF_ERROR(override.RefuseUnreadKeys());
  return layer;
}

absl::StatusOr<std::vector<LayerConfig>> ParseLayers(JsonObject& config) {
  ASSIGN_OR_RETURN(const int num_layers, config.Int("num_hidden_layers", kNumLayersRange));
  ASSIGN_OR_RETURN(const int intermediate_size,
                   config.Int("intermediate_size", kIntermediateSizeRange));
  LayerConfig usual{{DenseFfnConfig{intermediate_size}}};
  if (const json* attention = config.Find("attention")) {
    ASSIGN_OR_RETURN(usual.attention, ParseAttentionOf(config, *attention));
  } else {
    config.NoteDefault("attention", "dense");
  }
  if (const json* ffn = config.Find("ffn")) {
    ASSIGN_OR_RETURN(usual.ffn, ParseFfnOf(config, *ffn, intermediate_size));
  } else {
    config.NoteDefault("ffn", absl::StrCat("dense ", intermediate_size));
  }
  std::vector<LayerConfig> layers(num_layers, usual);
  const json* overrides = config.Find("layers");
  if (overrides == nullptr) return layers;
  if (!overrides->is_object()) return config.Error("layers", "is not a JSON object");
  for (const auto& [key, value] : overrides->items()) {
    const std::optional<int> index = ParseLayerIndex(key, num_layers);
    if (!index.has_value()) {
      return config.Error(
          "layers", absl::StrCat("has the key ", Quoted(key), ", not within 0..", num_layers - 1));
    }
    ASSIGN_OR_RETURN(JsonObject override,
                     config.Inner(value, absl::StrCat("layers[", *index, "]")));
    ASSIGN_OR_RETURN(layers[*index],
                     ParseLayerOverride(std::move(override), usual, intermediate_size));
  }
  return layers;
}

}  // namespace

absl::StatusOr<ModelConfig> ParsePeerageConfig(JsonObject config) {
  RETURN_IF_ERROR(CheckArchitectures(config));
  RETURN_IF_ERROR(config.Int("format_version", kFormatVersionRange).status());
  ASSIGN_OR_RETURN(ModelConfig model, ParseCommonKeys(config));
  model.architecture = "peerage";
  ASSIGN_OR_RETURN(model.activation,
                   ParseChoice(config, "hidden_act", kActivations, {model.activation}));
  ASSIGN_OR_RETURN(model.norm_type,
                   ParseChoice(config, "norm_type", kNormTypes, {model.norm_type}));
  ASSIGN_OR_RETURN(model.norm_eps, config.Number("norm_eps", kNormEpsRange, model.norm_eps));
  ASSIGN_OR_RETURN(model.rope_theta,
                   config.Number("rope_theta", kRopeThetaRange, model.rope_theta));
  ASSIGN_OR_RETURN(model.rope_interleaved, config.Bool("rope_interleaved", false));
  ASSIGN_OR_RETURN(model.parallel_block, config.Bool("parallel_block", false));
  ASSIGN_OR_RETURN(model.layers, ParseLayers(config));
  RETURN_IF_ERROR(config.RefuseUnreadKeys());
  RETURN_IF_ERROR(CheckMixtureExperts(model));
  RETURN_IF_ERROR(CheckGatingResiduals(model));
  model.defaults = config.defaults();
  return model;
}

}  // namespace peerage
