#include "server/pages/usage_json.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/choice.h"
#include "model/experts/expert_figures.h"
#include "model/experts/expert_numbers.h"

namespace peerage {
namespace {

using nlohmann::ordered_json;

constexpr int kHottest = 10;
constexpr int kLorenzPoints = 100;

// [i]: the share of the selections that the i / kLorenzPoints least selected experts have.
std::vector<double> LorenzCurve(std::vector<uint64_t> selections) {
  std::sort(selections.begin(), selections.end());
  std::vector<double> sums = {0};
  for (const uint64_t count : selections) sums.push_back(sums.back() + static_cast<double>(count));
  std::vector<double> curve;
  for (size_t i = 0; i <= kLorenzPoints; ++i) {
    // Between two experts on the line from one to the other.
    const double at = static_cast<double>(selections.size() * i) / kLorenzPoints;
    const auto below = static_cast<size_t>(at);
    const double above = sums[std::min(below + 1, selections.size())];
    const double sum = std::lerp(sums[below], above, at - static_cast<double>(below));
    curve.push_back(sums.back() > 0 ? sum / sums.back() : 0);
  }
  return curve;
}

ordered_json Hottest(const ExpertLayer& layer, const ExpertUsage& usage, uint64_t selections) {
  ordered_json hottest = ordered_json::array();
  for (const uint32_t id : MostUsedExperts(usage.selections, usage.score_sums, kHottest)) {
    if (usage.selections[id] == 0) break;
    ordered_json& expert = hottest.emplace_back(ordered_json{{"id", id}});
    if (layer.is_mixture()) expert["name"] = layer.expert_name(id);
    expert["selections"] = usage.selections[id];
    expert["share"] = static_cast<double>(usage.selections[id]) / static_cast<double>(selections);
  }
  return hottest;
}

}  // namespace

std::vector<std::string> ExpertNames(const ExpertLayer& layer) {
  std::vector<std::string> names;
  for (uint32_t id = 0; id < layer.num_experts; ++id) names.push_back(layer.expert_name(id));
  return names;
}

ordered_json DescribeUsage(const ExpertLayer& layer, const LayerReading& reading) {
  const ExpertUsage& usage = reading.usage;
  const ExpertFigures figures = FiguresOf(layer, usage);
  ordered_json json = {
      {"layer", layer.layer},
      {"kind", ChoiceName(kExpertLayerKinds, layer.kind)},
      {"window", ChoiceName(kUsageWindows, reading.window)},
      {"start", absl::ToDoubleSeconds(usage.start - absl::UnixEpoch())},
      {"end", absl::ToDoubleSeconds(usage.end - absl::UnixEpoch())},
      {"num_experts", layer.num_experts},
      {"expert_sets", layer.expert_sets},
      {"heads", layer.heads},
      {"top_k", layer.top_k},
      {"tokens", usage.tokens},
      {"selections", figures.selections},
      {"used_ratio", figures.used_ratio},
      {"used_expected_ratio", figures.used_expected_ratio},
      {"unevenness_nats", figures.by_score.nats},
      {"unevenness_expected_nats", figures.by_score.expected_nats},
      {"effective_experts", figures.effective_experts},
      {"gini", figures.gini},
      {"top_shares", figures.top_share},
      {"lorenz", LorenzCurve(usage.selections)},
      {"hottest", Hottest(layer, usage, figures.selections)},
  };
  if (reading.drift_nats.has_value()) json["drift_nats"] = *reading.drift_nats;
  if (layer.num_sub_keys > 0) {
    const SubKeySelections by_sub_key = SelectionsBySubKey(usage.selections, layer.num_sub_keys);
    json["rows"] = by_sub_key.rows;
    json["columns"] = by_sub_key.columns;
  }
  if (layer.is_mixture()) {
    json["names"] = ExpertNames(layer);
    json["scores_since_start"] = reading.scores_since_start;
    json["shares"] = ScoreShares(usage.score_sums);
  }
  return json;
}

}  // namespace peerage
