#include "model/transform/inspect/inspection_report.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/number_text.h"
#include "model/checkpoint/config/product_key_choices.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

const char* KindName(FfnKind kind) {
  switch (kind) {
    case FfnKind::kDense:
      return "dense";
    case FfnKind::kMixture:
      return "mixture";
    case FfnKind::kPeer:
      return "peer";
    case FfnKind::kProductKeyMemory:
      return "pkm";
  }
  return "unknown";
}

std::string MixtureText(const MixtureConfig& mixture) {
  std::string text = absl::StrCat("mixture of ", mixture.num_experts, " experts, ");
  if (mixture.is_soft()) {
    text += "soft";
  } else {
    absl::StrAppend(&text, "top ", mixture.top_k, mixture.normalize_top_k ? " renormalised" : "");
  }
  return text;
}

// ": "base", "law"", for the end of a line.
std::string NamesText(const MixtureConfig& mixture) {
  if (mixture.expert_names.empty()) return "";
  const auto quote = [](std::string* out, const std::string& name) {
    absl::StrAppend(out, Quoted(name));
  };
  return absl::StrCat(": ", absl::StrJoin(mixture.expert_names, ", ", quote));
}

std::string AttentionText(const AttentionConfig& attention) {
  if (attention.kind == AttentionKind::kDense) return "dense";
  return absl::StrCat(MixtureText(attention.mixture),
                      attention.kv == MixtureKv::kShared ? ", shared KV" : ", own KV",
                      NamesText(attention.mixture));
}

// What decides, and what differs from the defaults of the format, in the words of config.json.
std::string ProductKeysText(const FfnConfig& ffn) {
  const ProductKeyConfig& config = ffn.product_keys;
  const ProductKeyConfig defaults;
  std::string text = absl::StrCat(KindName(ffn.kind), " of ", FormatWhole(config.num_experts),
                                  " experts", config.per_head_experts ? " for each head" : "", ", ",
                                  config.heads, config.heads == 1 ? " head" : " heads", " x top ",
                                  config.top_k, ", keys ", ChoiceName(kProductKeys, config.keys));
  if (config.keys != ProductKeys::kDirect) absl::StrAppend(&text, ", key_dim ", config.key_dim);
  absl::StrAppend(&text, ", score ", ChoiceName(kRouterScores, config.score));
  if (config.query_bias) text += ", query_bias";
  if (config.query_norm != defaults.query_norm) {
    absl::StrAppend(&text, ", query_norm ", ChoiceName(kQueryNorms, config.query_norm));
  }
  if (config.query_norm_eps != defaults.query_norm_eps) {
    absl::StrAppend(&text, ", query_norm_eps ", config.query_norm_eps);
  }
  if (ffn.kind == FfnKind::kProductKeyMemory) return text;
  absl::StrAppend(&text, ", activation ", ChoiceName(kActivations, config.activation));
  if (config.glu) text += ", glu";
  if (config.norm != PeerNorm::kNone) text += ", pre_rmsnorm";
  if (config.layout != defaults.layout) {
    absl::StrAppend(&text, ", layout ", ChoiceName(kPeerLayouts, config.layout));
  }
  return text;
}

std::string FfnText(const FfnConfig& ffn) {
  if (ffn.kind == FfnKind::kDense) return absl::StrCat("dense ", ffn.intermediate_size);
  if (ffn.kind == FfnKind::kMixture) {
    return absl::StrCat(MixtureText(ffn.mixture), ", each dense ", ffn.intermediate_size,
                        NamesText(ffn.mixture));
  }
  return ProductKeysText(ffn);
}

ordered_json AttentionJson(const AttentionConfig& attention) {
  if (attention.kind == AttentionKind::kDense) return "dense";
  return {{"kind", "mixture"},
          {"num_experts", attention.mixture.num_experts},
          {"kv", attention.kv == MixtureKv::kShared ? "shared" : "expert"},
          {"routing", attention.mixture.is_soft() ? "soft" : "top_k"},
          {"top_k", attention.mixture.top_k},
          {"normalize_top_k", attention.mixture.normalize_top_k},
          {"expert_names", attention.mixture.expert_names}};
}

ordered_json ProductKeysJson(const FfnConfig& ffn) {
  const ProductKeyConfig& config = ffn.product_keys;
  ordered_json fields = {{"kind", KindName(ffn.kind)},
                         {"num_experts", config.num_experts},
                         {"heads", config.heads},
                         {"top_k", config.top_k},
                         {"key_dim", config.key_dim},
                         {"keys", ChoiceName(kProductKeys, config.keys)},
                         {"experts", ChoiceName(kPerHeadExperts, config.per_head_experts)},
                         {"query_bias", config.query_bias},
                         {"query_norm", ChoiceName(kQueryNorms, config.query_norm)},
                         {"query_norm_eps", ShortestDecimal(config.query_norm_eps)},
                         {"score", ChoiceName(kRouterScores, config.score)}};
  if (ffn.kind == FfnKind::kProductKeyMemory) return fields;
  fields["activation"] = ChoiceName(kActivations, config.activation);
  fields["glu"] = config.glu;
  fields["pre_rmsnorm"] = config.norm != PeerNorm::kNone;
  fields["layout"] = ChoiceName(kPeerLayouts, config.layout);
  return fields;
}

ordered_json FfnJson(const FfnConfig& ffn) {
  if (ffn.kind == FfnKind::kDense) {
    return {{"kind", "dense"}, {"intermediate_size", ffn.intermediate_size}};
  }
  if (ffn.kind == FfnKind::kMixture) {
    return {{"kind", "mixture"},
            {"num_experts", ffn.mixture.num_experts},
            {"top_k", ffn.mixture.top_k},
            {"normalize_top_k", ffn.mixture.normalize_top_k},
            {"intermediate_size", ffn.intermediate_size},
            {"expert_names", ffn.mixture.expert_names}};
  }
  return ProductKeysJson(ffn);
}

// The exact number, and the one that people compare.
std::string CountText(absl::string_view what, uint64_t count) {
  return absl::StrFormat("%-19s %15s %8s", what, FormatWhole(count), FormatCount(count));
}

std::string BytesText(uint64_t bytes) {
  return absl::StrFormat("%15s bytes %10s", FormatWhole(bytes), FormatBytes(bytes));
}

std::string SizesText(const Inspection& inspection) {
  std::string text =
      absl::StrCat(CountText("parameters", inspection.parameters.total), "\n",
                   CountText("active for a token", inspection.parameters.active), "\n");
  if (inspection.has_weights) {
    uint64_t bytes = 0;
    for (const PartSize& part : inspection.parts) bytes += part.bytes;
    absl::StrAppend(&text, absl::StrFormat("%-19s ", "stored weights"), BytesText(bytes), "\n");
  }
  return absl::StrCat(text, absl::StrFormat("%-19s ", "KV per token"),
                      BytesText(inspection.kv_bytes_per_token), " (f32)\n");
}

std::string PartsText(const Inspection& inspection) {
  std::string text;
  for (const PartSize& part : inspection.parts) {
    absl::StrAppend(&text, CountText(absl::StrCat("  ", part.part), part.parameters));
    if (inspection.has_weights) absl::StrAppend(&text, " ", BytesText(part.bytes));
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string LayersText(const Inspection& inspection) {
  const std::vector<LayerConfig>& layers = inspection.config.layers;
  std::string text;
  for (size_t first = 0, end; first < layers.size(); first = end) {
    for (end = first + 1; end < layers.size() && layers[end] == layers[first];) ++end;
    const std::string range =
        end == first + 1 ? absl::StrCat(first) : absl::StrCat(first, "-", end - 1);
    absl::StrAppend(&text, CountText(absl::StrCat("  ", range), inspection.flops_per_token[first]),
                    "\n    attention  ", AttentionText(layers[first].attention), "\n");
    for (const FfnConfig& ffn : layers[first].ffn) {
      absl::StrAppend(&text, "    ffn        ", FfnText(ffn), "\n");
    }
  }
  return text;
}

}  // namespace

std::string InspectionText(const Inspection& inspection) {
  const ModelConfig& config = inspection.config;
  return absl::StrCat(config.architecture, ", ", config.layers.size(), " layers, hidden size ",
                      config.hidden_size, ", vocabulary ", config.vocab_size, ", context ",
                      config.max_positions, "\n", SizesText(inspection), "\nparts\n",
                      PartsText(inspection),
                      "\nlayers, with the FLOPs of each for one token after ", inspection.context,
                      "\n", LayersText(inspection));
}

ordered_json InspectionJson(const Inspection& inspection) {
  ordered_json layers = ordered_json::array();
  for (const LayerConfig& layer : inspection.config.layers) {
    ordered_json ffn = ordered_json::array();
    for (const FfnConfig& part : layer.ffn) ffn.push_back(FfnJson(part));
    layers.push_back({{"attention", AttentionJson(layer.attention)}, {"ffn", std::move(ffn)}});
  }
  ordered_json parameters, bytes;
  for (const PartSize& part : inspection.parts) {
    parameters[part.part] = part.parameters;
    if (inspection.has_weights) bytes[part.part] = part.bytes;
  }
  return {{"architecture", inspection.config.architecture},
          {"layers", std::move(layers)},
          {"total_parameters", inspection.parameters.total},
          {"active_parameters", inspection.parameters.active},
          {"parameters_by_part", std::move(parameters)},
          {"bytes_by_part", std::move(bytes)},
          {"kv_bytes_per_token", inspection.kv_bytes_per_token},
          {"context", inspection.context},
          {"flops_per_token", inspection.flops_per_token}};
}

}  // namespace peerage::transform
