#include "client/expert_report.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/number_text.h"
#include "client/expert_layers.h"
#include "client/terminal_text.h"
#include "model/experts/expert_numbers.h"

namespace peerage::client {
namespace {

using Align = Table::Align;

constexpr size_t kTopExperts = 16;
constexpr int kTracedExperts = 3;  // on a line

// "2026-11-25T17:22:51Z"
std::string WholeSeconds(google::protobuf::Timestamp time) {
  time.set_nanos(0);
  return google::protobuf::util::TimeUtil::ToString(time);
}

void AddRow(const std::string& name, const v1::LayerSummary& layer, Table& table) {
  const bool soft = IsSoft(layer.tokens(), layer.selections(), layer.num_experts());
  table.AddRow({name, ExpertKindName(layer.kind()), FormatWhole(layer.num_experts()),
                FormatWhole(layer.tokens()), FormatWhole(layer.selections()),
                FormatPercent(layer.used_ratio()), FormatPercent(layer.used_expected_ratio()),
                absl::StrFormat("%.3f", layer.unevenness_nats()),
                absl::StrFormat("%.3f", layer.unevenness_expected_nats()),
                FormatThreeDigits(layer.effective_experts()),
                soft ? "-" : absl::StrFormat("%.3f", layer.gini()),
                layer.num_experts() < 100 ? "-" : FormatPercent(layer.top_1_percent_share())});
}

}  // namespace

std::optional<v1::LayerSummary> MeanOfKind(const v1::WatchExpertSummaryResponse& summary,
                                           v1::ExpertLayerKind kind) {
  std::vector<v1::LayerSummary> layers;
  for (const v1::LayerSummary& layer : summary.layers()) {
    if (layer.kind() == kind) layers.push_back(layer);
  }
  if (layers.size() < 2) return std::nullopt;
  const auto mean = [&layers](auto figure) {
    double sum = 0;
    for (const v1::LayerSummary& layer : layers) sum += static_cast<double>((layer.*figure)());
    return sum / static_cast<double>(layers.size());
  };
  using Layer = v1::LayerSummary;
  Layer result;
  result.set_kind(kind);
  result.set_num_experts(static_cast<uint32_t>(std::llround(mean(&Layer::num_experts))));
  result.set_tokens(std::llround(mean(&Layer::tokens)));
  result.set_selections(std::llround(mean(&Layer::selections)));
  result.set_used_ratio(mean(&Layer::used_ratio));
  result.set_used_expected_ratio(mean(&Layer::used_expected_ratio));
  result.set_unevenness_nats(mean(&Layer::unevenness_nats));
  result.set_unevenness_expected_nats(mean(&Layer::unevenness_expected_nats));
  result.set_effective_experts(mean(&Layer::effective_experts));
  result.set_gini(mean(&Layer::gini));
  result.set_top_1_percent_share(mean(&Layer::top_1_percent_share));
  return result;
}

std::string ExpertLayerTable(const v1::WatchExpertSummaryResponse& summary) {
  Table table({{"layer", Align::kRight},
               {"kind"},
               {"experts", Align::kRight},
               {"tokens", Align::kRight},
               {"selections", Align::kRight},
               {"used", Align::kRight},
               {"expected", Align::kRight},
               {"unevenness", Align::kRight},
               {"expected", Align::kRight},
               {"effective", Align::kRight},
               {"Gini", Align::kRight},
               {"top 1 %", Align::kRight}});
  for (const v1::LayerSummary& layer : summary.layers()) {
    AddRow(absl::StrCat(layer.layer()), layer, table);
  }
  for (int kind = v1::ExpertLayerKind_MIN; kind <= v1::ExpertLayerKind_MAX; ++kind) {
    const auto mean = MeanOfKind(summary, static_cast<v1::ExpertLayerKind>(kind));
    if (mean.has_value()) AddRow("mean", *mean, table);
  }
  return table.ToString();
}

std::string ExpertSummaryText(const v1::WatchExpertSummaryResponse& summary,
                              absl::Span<const MixtureLayer> mixtures, const ExpertNames& names) {
  if (summary.layers().empty()) return "the model has no experts\n";
  std::vector<MixtureLayer> few;
  for (const MixtureLayer& mixture : mixtures) {
    if (mixture.usage.selections.size() <= kMixtureColumns) few.push_back(mixture);
  }
  v1::WatchExpertSummaryResponse others;
  for (const v1::LayerSummary& layer : summary.layers()) {
    const bool listed = std::any_of(few.begin(), few.end(), [&layer](const MixtureLayer& mixture) {
      return mixture.summary.layer() == layer.layer() && mixture.summary.kind() == layer.kind();
    });
    if (!listed) *others.add_layers() = layer;
  }
  if (few.empty()) return ExpertLayerTable(others);
  return absl::StrCat(others.layers().empty() ? "" : ExpertLayerTable(others) + "\n",
                      MixtureTable(few, names));
}

std::string ExpertUsageReport(const ExpertUsage& usage, const ExpertNames& names) {
  const v1::UsageHeader& header = usage.header;
  const auto used = std::count_if(usage.selections.begin(), usage.selections.end(),
                                  [](uint64_t count) { return count > 0; });
  const bool soft = IsSoft(header.tokens(), header.selections(), header.num_experts());
  std::string report = absl::StrCat(
      "layer ", header.layer(), " (", ExpertKindName(header.kind()), ") used ", FormatWhole(used),
      " of ", FormatWhole(header.num_experts()), " experts: ", FormatWhole(header.tokens()),
      " tokens, ", FormatWhole(header.selections()), " selections, ",
      WholeSeconds(header.window_start()), " to ", WholeSeconds(header.window_end()), "\n");
  const std::vector<double> score_shares = ScoreShares(usage.score_sums);
  const auto score_share = [&score_shares](uint32_t id) {
    return score_shares.empty() ? "-" : FormatPercent(score_shares[id]);
  };
  if (soft) {  // all selections are alike
    Table table({{"expert", Align::kRight}, {"mean gate", Align::kRight}});
    for (const uint32_t id : MostUsedExperts(usage.selections, usage.score_sums, kTopExperts)) {
      table.AddRow({names.Of(header.layer(), header.kind(), id), score_share(id)});
    }
    return report + table.ToString();
  }
  Table table({{"expert", Align::kRight},
               {"selections", Align::kRight},
               {"share of selections", Align::kRight},
               {"share of scores", Align::kRight}});
  for (const uint32_t id : MostUsedExperts(usage.selections, usage.score_sums, kTopExperts)) {
    if (usage.selections[id] == 0) break;
    const double share = static_cast<double>(usage.selections[id]) / header.selections();
    table.AddRow({names.Of(header.layer(), header.kind(), id), FormatWhole(usage.selections[id]),
                  FormatPercent(share), score_share(id)});
  }
  return report + table.ToString();
}

std::string ExpertTraceLines(const v1::ExpertTrace& trace, const ExpertNames& names) {
  std::string lines;
  for (const v1::LayerTrace& layer : trace.layers()) {
    absl::StrAppend(&lines, "layer ", layer.layer());
    if (layer.kind() != v1::EXPERT_LAYER_KIND_PEER) {
      absl::StrAppend(&lines, " (", ExpertKindName(layer.kind()), ")");
    }
    absl::StrAppend(&lines, " used ", FormatWhole(layer.distinct_experts()), " of ",
                    FormatWhole(layer.num_experts()), " experts in ",
                    FormatWhole(layer.selections()), " selections, effectively ",
                    FormatThreeDigits(std::exp(layer.entropy_nats())));
    const int top =
        std::min({kTracedExperts, layer.top_expert_ids_size(), layer.top_expert_shares_size()});
    for (int i = 0; i < top; ++i) {
      absl::StrAppend(&lines, i == 0 ? "; largest shares of the scores: " : ", ",
                      names.Of(layer.layer(), layer.kind(), layer.top_expert_ids(i)), " ",
                      FormatPercent(layer.top_expert_shares(i)));
    }
    lines += "\n";
  }
  return lines;
}

}  // namespace peerage::client
