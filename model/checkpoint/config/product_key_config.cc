#include "model/checkpoint/config/product_key_config.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/config_limits.h"
#include "model/config/choices.h"

namespace peerage {
namespace {

constexpr Choice<bool> kBools[] = {{"false", false}, {"true", true}};

// What the tensors of a layout fix.
struct LayoutFields {
  PeerLayout layout;
  ProductKeys keys;
  int max_heads;
  bool query_bias;
  QueryNorm query_norm;
  // What the layout can store at all.
  bool per_head_experts;
  bool glu;
  bool pre_rmsnorm;
};

constexpr LayoutFields kLayoutFields[] = {
    {.layout = PeerLayout::kLucidrains,
     .keys = ProductKeys::kPerHead,
     .max_heads = kProductKeyHeadsRange.max,
     .query_bias = false,
     .query_norm = QueryNorm::kNone,
     .per_head_experts = true,
     .glu = false,
     .pre_rmsnorm = true},
    {.layout = PeerLayout::kMetaMemory,
     .keys = ProductKeys::kPerHead,
     .max_heads = kProductKeyHeadsRange.max,
     .query_bias = true,
     .query_norm = QueryNorm::kNone,
     .per_head_experts = false,
     .glu = false,
     .pre_rmsnorm = false},
    {.layout = PeerLayout::kOstix360,
     .keys = ProductKeys::kPerHead,
     .max_heads = kProductKeyHeadsRange.max,
     .query_bias = true,
     .query_norm = QueryNorm::kBatch,
     .per_head_experts = false,
     .glu = true,
     .pre_rmsnorm = false},
    {.layout = PeerLayout::kDoge,
     .keys = ProductKeys::kDirect,
     .max_heads = 1,
     .query_bias = false,
     .query_norm = QueryNorm::kNone,
     .per_head_experts = false,
     .glu = false,
     .pre_rmsnorm = false},
    // The bias comes of its batch norm, which is folded into the router.
    {.layout = PeerLayout::kOmniMoe,
     .keys = ProductKeys::kDirect,
     .max_heads = 1,
     .query_bias = true,
     .query_norm = QueryNorm::kNone,
     .per_head_experts = false,
     .glu = false,
     .pre_rmsnorm = false},
};

absl::Status CheckLayout(const JsonObject& entry, const PeerConfig& config) {
  const ProductKeyConfig& keys = config.keys;
  for (const LayoutFields& layout : kLayoutFields) {
    if (layout.layout != config.layout) continue;
    const struct {
      absl::string_view key;
      bool fits;
      absl::string_view wanted;
    } checks[] = {
        {"keys", keys.keys == layout.keys, ChoiceName(kProductKeys, layout.keys)},
        {"heads", keys.heads <= layout.max_heads, "1"},
        {"query_bias", keys.query_bias == layout.query_bias, ChoiceName(kBools, layout.query_bias)},
        {"query_norm", keys.query_norm == layout.query_norm,
         ChoiceName(kQueryNorms, layout.query_norm)},
        {"experts", layout.per_head_experts || !keys.per_head_experts, "shared"},
        {"glu", layout.glu || !config.glu, "false"},
        {"pre_rmsnorm", layout.pre_rmsnorm || config.norm == PeerNorm::kNone, "false"},
    };
    for (const auto& check : checks) {
      if (check.fits) continue;
      return entry.Error(check.key, absl::StrCat("must be ", check.wanted, " with layout ",
                                                 ChoiceName(kPeerLayouts, config.layout)));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseExperts(JsonObject& entry, ProductKeyConfig& config) {
  ASSIGN_OR_RETURN(config.num_experts, entry.Int64("num_experts", kProductKeyExpertsRange));
  config.num_sub_keys = static_cast<int>(std::lround(std::sqrt(config.num_experts)));
  if (int64_t{config.num_sub_keys} * config.num_sub_keys != config.num_experts) {
    return entry.Error("num_experts",
                       absl::StrCat("is ", config.num_experts, ", not a square number"));
  }
  ASSIGN_OR_RETURN(config.heads, entry.Int("heads", kProductKeyHeadsRange));
  ASSIGN_OR_RETURN(config.top_k, entry.Int("top_k", kProductKeyTopKRange));
  if (config.top_k > config.num_experts) {
    return entry.Error(
        "top_k", absl::StrCat("is ", config.top_k, ", more than num_experts ", config.num_experts));
  }
  ASSIGN_OR_RETURN(config.per_head_experts,
                   ParseChoice(entry, "experts", kPerHeadExperts, {false}));
  if (config.table_rows() > std::numeric_limits<uint32_t>::max()) {
    return entry.Error("num_experts",
                       absl::StrCat("is ", config.num_experts, " for each of ", config.heads,
                                    " heads, more than 2^32 - 1 in all"));
  }
  return absl::OkStatus();
}

absl::Status ParseQuery(JsonObject& entry, ProductKeyConfig& config) {
  ASSIGN_OR_RETURN(config.keys, ParseChoice(entry, "keys", kProductKeys, {config.keys}));
  ASSIGN_OR_RETURN(config.query_bias, entry.Bool("query_bias", config.query_bias));
  ASSIGN_OR_RETURN(config.query_norm,
                   ParseChoice(entry, "query_norm", kQueryNorms, {config.query_norm}));
  ASSIGN_OR_RETURN(config.query_norm_eps,
                   entry.Number("query_norm_eps", kNormEpsRange, config.query_norm_eps));
  if (config.keys == ProductKeys::kDirect) {
    if (entry.Find("key_dim") != nullptr) {
      return entry.Error("key_dim", "is there, but direct keys have no query");
    }
    if (config.query_norm == QueryNorm::kNone) return absl::OkStatus();
    return entry.Error("query_norm", "must be none with direct keys, which have no query");
  }
  ASSIGN_OR_RETURN(config.key_dim, entry.Int("key_dim", kKeyDimRange));
  if (config.key_dim % 2 == 0) return absl::OkStatus();
  return entry.Error("key_dim", absl::StrCat("is ", config.key_dim, ", not an even number"));
}

absl::StatusOr<ProductKeyConfig> ParseKeys(JsonObject& entry) {
  ProductKeyConfig config;
  RETURN_IF_ERROR(ParseExperts(entry, config));
  RETURN_IF_ERROR(ParseQuery(entry, config));
  ASSIGN_OR_RETURN(config.score, ParseChoice(entry, "score", kRouterScores, {config.score}));
  return config;
}

}  // namespace

absl::StatusOr<FfnConfig> ParsePeer(JsonObject& entry, int) {
  PeerConfig config;
  ASSIGN_OR_RETURN(config.keys, ParseKeys(entry));
  ASSIGN_OR_RETURN(config.activation,
                   ParseChoice(entry, "activation", kActivations, {config.activation}));
  ASSIGN_OR_RETURN(config.glu, entry.Bool("glu", config.glu));
  ASSIGN_OR_RETURN(config.layout, ParseChoice(entry, "layout", kPeerLayouts, {config.layout}));
  ASSIGN_OR_RETURN(const bool pre_rmsnorm, entry.Bool("pre_rmsnorm", false));
  if (pre_rmsnorm) {
    config.norm = config.layout == PeerLayout::kLucidrains ? PeerNorm::kL2 : PeerNorm::kRms;
  }
  RETURN_IF_ERROR(CheckLayout(entry, config));
  return config;
}

absl::StatusOr<FfnConfig> ParseProductKeyMemory(JsonObject& entry, int) {
  ProductKeyMemoryConfig config;
  ASSIGN_OR_RETURN(config.keys, ParseKeys(entry));
  return config;
}

}  // namespace peerage
