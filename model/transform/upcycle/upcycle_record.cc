#include "model/transform/upcycle/upcycle_record.h"

#include <string>
#include <utility>

#include "base/choice.h"
#include "model/transform/upcycle/upcycle_choices.h"

namespace peerage::transform {

using nlohmann::ordered_json;

ordered_json UpcycleRecordJson(const std::vector<SourceModel>& models,
                               const UpcycleOptions& options) {
  ordered_json experts = ordered_json::array();
  for (const SourceModel& model : models) {
    experts.push_back({{"name", model.name}, {"path", model.path}, {"sha256", model.fingerprint}});
  }
  ordered_json record = {
      {"program", options.program},
      {"models", std::move(experts)},
      {"attention", std::string(ChoiceName(kUpcycledAttentions, options.attention))}};
  if (options.attention_top_k.has_value()) record["attention_top_k"] = *options.attention_top_k;
  record["top_k"] = options.top_k;
  record["normalize_top_k"] = options.normalize_top_k;
  record["zero_experts"] = options.zero_experts;
  record["copy_experts"] = options.copy_experts;
  record["constant_experts"] = options.constant_experts;
  record["gating_residual"] = options.gating_residual;
  record["routers"] = std::string(ChoiceName(kRouterInits, options.routers));
  for (const NamedPath& prompts : options.prompts) {
    record["prompts"][prompts.name] = prompts.path;
  }
  record["router_std"] = options.router_std;
  record["random_seed"] = options.random_seed;
  record["peers"] = options.peers;
  record["dtype"] = std::string(Traits(options.dtype).name);
  return record;
}

}  // namespace peerage::transform
