#include "client/expert_usage_json.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "client/format.h"
#include "model/experts/expert_numbers.h"

namespace peerage::client {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMostExperts = 256;

}  // namespace

std::string ExpertUsageJson(const ExpertUsage& usage, const ExpertNames& names) {
  ordered_json json = ordered_json::parse(ToJson(usage.header));
  ordered_json& experts = json["experts"] = ordered_json::array();
  for (const uint32_t id : MostUsedExperts(usage.selections, usage.score_sums, kMostExperts)) {
    ordered_json& expert = experts.emplace_back(ordered_json{{"id", id}});
    const std::string name = names.Exact(usage.header.layer(), usage.header.kind(), id);
    if (!name.empty()) expert["name"] = name;
    // As the mapping writes all 64-bit numbers.
    expert["selections"] = absl::StrCat(usage.selections[id]);
    expert["score_sum"] = usage.score_sums[id];
  }
  return json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace peerage::client
