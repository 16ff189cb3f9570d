#include "model/transform/upcycle/upcycle_warnings.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error_text.h"

namespace peerage::transform {
namespace {

std::vector<std::string> RawGateWarnings(int experts, const UpcycleOptions& options) {
  const struct {
    const char* part;
    int top_k;
    int of;
  } parts[] = {{"FFN", options.top_k,
                experts + options.zero_experts + options.copy_experts + options.constant_experts},
               {"attention", options.attention_top_k.value_or(experts), experts}};
  std::vector<std::string> warnings;
  for (const auto& [part, top_k, of] : parts) {
    if (options.normalize_top_k || top_k >= of) continue;
    warnings.push_back(absl::StrCat(
        part, " outputs are scaled by the sum of the chosen gates, about ", top_k, "/", of,
        ", until routers and experts are trained; --normalize-top-k keeps the scale"));
  }
  return warnings;
}

// "2, 5" or "none", in the order of the ids.
std::string IdList(std::vector<TokenId> ids) {
  std::sort(ids.begin(), ids.end());
  return ids.empty() ? "none" : absl::StrJoin(ids, ", ");
}

std::vector<std::string> DifferenceWarnings(const ModelConfig& base, const SourceModel& expert) {
  const ModelConfig& config = expert.checkpoint->config();
  const struct {
    const char* name;
    std::string of_base;
    std::string of_expert;
  } values[] = {
      {"bos_token_id", base.bos_id.has_value() ? absl::StrCat(*base.bos_id) : "none",
       config.bos_id.has_value() ? absl::StrCat(*config.bos_id) : "none"},
      {"max_position_embeddings", absl::StrCat(base.max_positions),
       absl::StrCat(config.max_positions)},
      {"eos_token_id", IdList(base.eos_ids), IdList(config.eos_ids)},
  };
  std::vector<std::string> warnings;
  for (const auto& [name, of_base, of_expert] : values) {
    if (of_base == of_expert) continue;
    warnings.push_back(absl::StrCat(name, " of expert ", Quoted(expert.name), " is ", of_expert,
                                    "; the mixture has the base's, ", of_base));
  }
  return warnings;
}

}  // namespace

std::vector<std::string> UpcycleWarnings(const std::vector<SourceModel>& models,
                                         const UpcycleOptions& options) {
  std::vector<std::string> warnings = RawGateWarnings(static_cast<int>(models.size()), options);
  for (const SourceModel& model : models) {
    for (std::string& warning : DifferenceWarnings(models.front().checkpoint->config(), model)) {
      warnings.push_back(std::move(warning));
    }
  }
  return warnings;
}

}  // namespace peerage::transform
