#include "model/checkpoint/config/mixture_config.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/choice.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/config_limits.h"

namespace peerage {
namespace {

using nlohmann::json;

enum class Routing { kSoft, kTopK };

constexpr Choice<AttentionKind> kAttentionKinds[] = {{"dense", AttentionKind::kDense},
                                                     {"mixture", AttentionKind::kMixture}};
constexpr Choice<MixtureKv> kKvs[] = {{"expert", MixtureKv::kExpert},
                                      {"shared", MixtureKv::kShared}};
constexpr Choice<Routing> kRoutings[] = {{"soft", Routing::kSoft}, {"top_k", Routing::kTopK}};

absl::StatusOr<std::vector<std::string>> ParseNames(JsonObject& object, int num_experts) {
  const json* value = object.Find("expert_names");
  std::vector<std::string> names;
  if (value == nullptr) return names;
  if (!value->is_array() || value->size() != static_cast<size_t>(num_experts)) {
    return object.Error("expert_names", absl::StrCat("is not a list of ", num_experts, " names"));
  }
  for (const json& element : *value) {
    if (!element.is_string() || element.get_ref<const std::string&>().empty() ||
        element.get_ref<const std::string&>().size() > kMaxExpertNameBytes) {
      return object.Error("expert_names", absl::StrCat("holds a name that is not 1 to ",
                                                       kMaxExpertNameBytes, " bytes"));
    }
    const std::string name = element.get<std::string>();
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      return object.Error("expert_names", absl::StrCat("holds ", Quoted(name), " twice"));
    }
    names.push_back(name);
  }
  return names;
}

absl::StatusOr<MixtureConfig> ParseExperts(JsonObject& object) {
  MixtureConfig mixture;
  ASSIGN_OR_RETURN(mixture.num_experts, object.Int("num_experts", kMixtureExpertsRange));
  ASSIGN_OR_RETURN(mixture.expert_names, ParseNames(object, mixture.num_experts));
  return mixture;
}

absl::Status RefuseTopKKeys(JsonObject& attention) {
  for (const char* key : {"top_k", "normalize_top_k"}) {
    if (attention.Find(key) != nullptr) {
      return attention.Error(key, "is there, but soft routing keeps all experts");
    }
  }
  return absl::OkStatus();
}

// Experts of these kinds are named after them: "zero", "copy-0", "copy-1".
absl::Status CheckNamesBeside(absl::string_view kind, const std::vector<std::string>& names,
                              const JsonObject& entry) {
  for (const std::string& name : names) {
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, kind)) continue;
    const bool numbered = absl::ConsumePrefix(&rest, "-") && !rest.empty() &&
                          std::all_of(rest.begin(), rest.end(), absl::ascii_isdigit);
    if (!numbered && !rest.empty()) continue;
    return entry.Error("expert_names", absl::StrCat("holds ", Quoted(name), ", as the ", kind,
                                                    " experts are called"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AttentionConfig> ParseAttention(JsonObject attention) {
  AttentionConfig config;
  ASSIGN_OR_RETURN(config.kind, ParseChoice(attention, "kind", kAttentionKinds));
  if (config.kind == AttentionKind::kMixture) {
    ASSIGN_OR_RETURN(config.mixture, ParseExperts(attention));
    ASSIGN_OR_RETURN(config.kv, ParseChoice(attention, "kv", kKvs));
    ASSIGN_OR_RETURN(const Routing routing, ParseChoice(attention, "routing", kRoutings));
    if (routing == Routing::kTopK) {
      const IntRange range{1, config.mixture.num_experts};
      ASSIGN_OR_RETURN(config.mixture.top_k, attention.Int("top_k", range));
      ASSIGN_OR_RETURN(config.mixture.normalize_top_k, attention.Bool("normalize_top_k", false));
    } else {
      RETURN_IF_ERROR(RefuseTopKKeys(attention));
      config.mixture.top_k = config.mixture.num_experts;
    }
  }
  RETURN_IF_ERROR(attention.RefuseUnreadKeys());
  return config;
}

absl::StatusOr<FfnConfig> ParseMixtureFfn(JsonObject& entry, int intermediate_size) {
  MixtureFfnConfig ffn;
  ASSIGN_OR_RETURN(ffn.intermediate_size,
                   entry.Int("intermediate_size", kIntermediateSizeRange, intermediate_size));
  ASSIGN_OR_RETURN(ffn.mixture, ParseExperts(entry));
  const struct {
    const char* kind;
    int& count;
  } others[] = {
      {"zero", ffn.zero_experts}, {"copy", ffn.copy_experts}, {"constant", ffn.constant_experts}};
  for (const auto& [kind, count] : others) {
    ASSIGN_OR_RETURN(
        count, entry.Int(absl::StrCat(kind, "_experts"), IntRange{0, kMixtureExpertsRange.max}, 0));
    if (count == 0) continue;
    RETURN_IF_ERROR(CheckNamesBeside(kind, ffn.mixture.expert_names, entry));
  }
  if (ffn.total_experts() > kMixtureExpertsRange.max) {
    return entry.Error("num_experts", absl::StrCat("and the zero, copy and constant experts are ",
                                                   ffn.total_experts(), " together, more than ",
                                                   kMixtureExpertsRange.max));
  }
  ASSIGN_OR_RETURN(ffn.gating_residual, entry.Bool("gating_residual", false));
  MixtureConfig& mixture = ffn.mixture;
  ASSIGN_OR_RETURN(mixture.top_k, entry.Int("top_k", IntRange{1, ffn.total_experts()}, 1));
  ASSIGN_OR_RETURN(mixture.normalize_top_k, entry.Bool("normalize_top_k", false));
  return ffn;
}

}  // namespace peerage
