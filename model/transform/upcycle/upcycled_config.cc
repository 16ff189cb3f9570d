#include "model/transform/upcycle/upcycled_config.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/choice.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/transform/config_json.h"
#include "model/transform/upcycle/peer_memory.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

ordered_json AttentionJson(const std::vector<std::string>& names, const UpcycleOptions& options) {
  if (!HasAttentionExperts(options.attention) || !options.MakesMixture())
    return {{"kind", "dense"}};
  ordered_json attention = {
      {"kind", "mixture"},
      {"num_experts", names.size()},
      {"kv", options.attention == UpcycledAttention::kShared ? "shared" : "expert"},
      {"routing", options.attention_top_k.has_value() ? "top_k" : "soft"}};
  if (options.attention_top_k.has_value()) {
    attention["top_k"] = *options.attention_top_k;
    attention["normalize_top_k"] = options.normalize_top_k;
  }
  attention["expert_names"] = names;
  return attention;
}

ordered_json FfnJson(const std::vector<std::string>& names, const UpcycleOptions& options) {
  if (!options.MakesMixture()) return {{"kind", "dense"}};
  ordered_json ffn = {{"kind", "mixture"},
                      {"num_experts", names.size()},
                      {"top_k", options.top_k},
                      {"normalize_top_k", options.normalize_top_k},
                      {"expert_names", names}};
  if (options.zero_experts > 0) ffn["zero_experts"] = options.zero_experts;
  if (options.copy_experts > 0) ffn["copy_experts"] = options.copy_experts;
  if (options.constant_experts > 0) ffn["constant_experts"] = options.constant_experts;
  if (options.gating_residual) ffn["gating_residual"] = true;
  return ffn;
}

// The layers that differ from the others, by index.
absl::StatusOr<ordered_json> LayersJson(const ModelConfig& base, const ordered_json& ffn,
                                        const UpcycleOptions& options) {
  ordered_json layers = ordered_json::object();
  for (const std::string& text : options.peers) {
    ASSIGN_OR_RETURN(PeerMemory memory, ParsePeerMemory(text));
    if (memory.layer >= static_cast<int>(base.layers.size())) {
      return absl::InvalidArgumentError(
          absl::StrCat("--peer ", Quoted(text), ": layer is ", memory.layer,
                       ", but the model has layers 0 to ", base.layers.size() - 1));
    }
    layers[absl::StrCat(memory.layer)]["ffn"] = ordered_json::array({ffn, std::move(memory.entry)});
  }
  return layers;
}

}  // namespace

absl::StatusOr<ordered_json> UpcycledConfigJson(const ModelConfig& base,
                                                const UpcycleOptions& options) {
  const std::vector<std::string> names = options.ExpertNames();
  ordered_json config = PeerageConfigJson(base);
  const ordered_json ffn = FfnJson(names, options);
  config["attention"] = AttentionJson(names, options);
  config["ffn"] = ordered_json::array({ffn});
  ASSIGN_OR_RETURN(ordered_json layers, LayersJson(base, ffn, options));
  if (!layers.empty()) config["layers"] = std::move(layers);
  return config;
}

}  // namespace peerage::transform
