#include "client/expert_json.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "client/expert_report.h"
#include "model/experts/expert_numbers.h"

namespace peerage::client {
namespace {

constexpr size_t kMostExperts = 256;

// {"id": 1, "name": "law"}
Json ExpertJson(const ExpertUsage& usage, const ExpertNames& names, uint32_t id) {
  Json expert = {{"id", id}};
  const std::string name = names.Exact(usage.header.layer(), usage.header.kind(), id);
  if (!name.empty()) expert["name"] = name;
  return expert;
}

// JSON has no shares of nothing.
Json Share(const std::vector<double>& shares, uint32_t id) {
  return shares.empty() ? Json(nullptr) : Json(shares[id]);
}

Json MixtureExperts(const ExpertUsage& usage, const ExpertNames& names) {
  Json experts = Json::array();
  const std::vector<double> shares = ScoreShares(usage.score_sums);
  for (uint32_t id = 0; id < usage.selections.size(); ++id) {
    experts.push_back(ExpertJson(usage, names, id));
    experts.back()["share_of_scores"] = Share(shares, id);
  }
  return experts;
}

const MixtureLayer* FindMixture(absl::Span<const MixtureLayer> mixtures,
                                const v1::LayerSummary& layer) {
  const auto found =
      std::find_if(mixtures.begin(), mixtures.end(), [&layer](const MixtureLayer& mixture) {
        return mixture.summary.layer() == layer.layer() && mixture.summary.kind() == layer.kind();
      });
  return found == mixtures.end() ? nullptr : &*found;
}

// Of the layers of a kind in which something was counted: each expert's mean share, when these
// layers have the same experts.
Json MeanShares(absl::Span<const MixtureLayer> mixtures, v1::ExpertLayerKind kind,
                const ExpertNames& names) {
  Json mean = nullptr;
  double layers = 0;
  for (const MixtureLayer& mixture : mixtures) {
    if (mixture.summary.kind() != kind || ScoreShares(mixture.usage.score_sums).empty()) continue;
    Json experts = MixtureExperts(mixture.usage, names);
    ++layers;
    if (mean.is_null()) {
      mean = std::move(experts);
      continue;
    }
    if (experts.size() != mean.size()) return nullptr;
    for (size_t i = 0; i < mean.size(); ++i) {
      if (experts[i].value("name", "") != mean[i].value("name", "")) return nullptr;
      const double before = mean[i]["share_of_scores"];
      mean[i]["share_of_scores"] =
          before + (experts[i]["share_of_scores"].get<double>() - before) / layers;
    }
  }
  return mean;
}

Json Means(const v1::WatchExpertSummaryResponse& summary, absl::Span<const MixtureLayer> mixtures,
           const ExpertNames& names) {
  Json means = Json::array();
  for (int i = v1::ExpertLayerKind_MIN; i <= v1::ExpertLayerKind_MAX; ++i) {
    const auto kind = static_cast<v1::ExpertLayerKind>(i);
    const std::optional<v1::LayerSummary> mean = MeanOfKind(summary, kind);
    if (!mean.has_value()) continue;
    Json& json = means.emplace_back(ToJson(*mean));
    json.erase("layer");
    if (const Json experts = MeanShares(mixtures, kind, names); !experts.is_null()) {
      json["experts"] = experts;
    }
  }
  return means;
}

}  // namespace

Json ExpertSummaryJson(const v1::WatchExpertSummaryResponse& summary,
                       absl::Span<const MixtureLayer> mixtures, const ExpertNames& names) {
  Json json = ToJson(summary);
  for (int i = 0; i < summary.layers_size(); ++i) {
    const MixtureLayer* mixture = FindMixture(mixtures, summary.layers(i));
    if (mixture == nullptr) continue;
    json["layers"][i]["routing"] = Routing(summary.layers(i));
    json["layers"][i]["experts"] = MixtureExperts(mixture->usage, names);
  }
  json["means"] = Means(summary, mixtures, names);
  return json;
}

Json ExpertUsageJson(const ExpertUsage& usage, const ExpertNames& names) {
  Json json = ToJson(usage.header);
  Json& experts = json["experts"] = Json::array();
  const std::vector<double> shares = ScoreShares(usage.score_sums);
  for (const uint32_t id : MostUsedExperts(usage.selections, usage.score_sums, kMostExperts)) {
    Json& expert = experts.emplace_back(ExpertJson(usage, names, id));
    const uint64_t all = usage.header.selections();
    expert["selections"] = usage.selections[id];
    expert["share_of_selections"] =
        all == 0 ? Json(nullptr) : Json(static_cast<double>(usage.selections[id]) / all);
    expert["score_sum"] = usage.score_sums[id];
    expert["share_of_scores"] = Share(shares, id);
  }
  return json;
}

}  // namespace peerage::client
