#include "model/transform/inspection_report.h"

#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "model/error_text.h"

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
  std::string text = absl::StrCat(mixture.num_experts, " experts");
  if (!mixture.expert_names.empty()) {
    const auto quote = [](std::string* out, const std::string& name) {
      absl::StrAppend(out, Quoted(name));
    };
    absl::StrAppend(&text, " (", absl::StrJoin(mixture.expert_names, " ", quote), ")");
  }
  if (mixture.is_soft()) return text + ", soft";
  return absl::StrCat(text, ", top ", mixture.top_k,
                      mixture.normalize_top_k ? " renormalised" : "");
}

std::string AttentionText(const AttentionConfig& attention) {
  if (attention.kind == AttentionKind::kDense) return "dense attention";
  return absl::StrCat("attention of ", MixtureText(attention.mixture),
                      attention.kv == MixtureKv::kShared ? ", shared KV" : ", own KV");
}

std::string FfnText(const FfnConfig& ffn) {
  if (ffn.kind == FfnKind::kDense) return absl::StrCat("dense ", ffn.intermediate_size);
  if (ffn.kind == FfnKind::kMixture) {
    return absl::StrCat("mixture of ", MixtureText(ffn.mixture), ", ", ffn.intermediate_size);
  }
  const ProductKeyConfig& config = ffn.product_keys;
  return absl::StrCat(KindName(ffn.kind), " ", config.num_experts,
                      config.per_head_experts ? " for each head" : "", ", ", config.heads,
                      config.heads == 1 ? " head" : " heads", " x top ", config.top_k);
}

std::string LayerText(const LayerConfig& layer) {
  const auto format = [](std::string* out, const FfnConfig& ffn) {
    absl::StrAppend(out, FfnText(ffn));
  };
  return absl::StrCat(AttentionText(layer.attention), "; ",
                      absl::StrJoin(layer.ffn, " + ", format));
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
  const ProductKeyConfig& config = ffn.product_keys;
  return {
      {"kind", KindName(ffn.kind)}, {"num_experts", config.num_experts},
      {"heads", config.heads},      {"top_k", config.top_k},
      {"key_dim", config.key_dim},  {"experts", config.per_head_experts ? "per_head" : "shared"}};
}

std::string PartsText(const Inspection& inspection) {
  std::string text;
  for (const PartSize& part : inspection.parts) {
    absl::StrAppend(&text, absl::StrFormat("  %-14s %16d", part.part, part.parameters));
    if (inspection.has_weights) absl::StrAppend(&text, absl::StrFormat(" %16d bytes", part.bytes));
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string LayersText(const Inspection& inspection) {
  const std::vector<LayerConfig>& layers = inspection.config.layers;
  std::string text;
  for (size_t first = 0, end; first < layers.size(); first = end) {
    const std::string layer = LayerText(layers[first]);
    for (end = first + 1; end < layers.size() && LayerText(layers[end]) == layer;) ++end;
    const std::string range =
        end == first + 1 ? absl::StrCat(first) : absl::StrCat(first, "-", end - 1);
    absl::StrAppend(&text, absl::StrFormat("  %-9s %16d FLOPs  %s\n", range,
                                           inspection.flops_per_token[first], layer));
  }
  return text;
}

}  // namespace

std::string InspectionText(const Inspection& inspection) {
  const ModelConfig& config = inspection.config;
  std::string text = absl::StrFormat("%s, %d layers, hidden size %d, vocabulary %d, context %d\n",
                                     config.architecture, config.layers.size(), config.hidden_size,
                                     config.vocab_size, config.max_positions);
  absl::StrAppend(
      &text, absl::StrFormat("%-16s %16d\n", "total parameters", inspection.parameters.total),
      absl::StrFormat("%-16s %16d\n", "active", inspection.parameters.active),
      absl::StrFormat("%-16s %16d bytes (f32)\n", "KV per token", inspection.kv_bytes_per_token),
      "\nparts\n", PartsText(inspection),
      absl::StrFormat("\nlayers, for one token after %d\n", inspection.context),
      LayersText(inspection));
  return text;
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
