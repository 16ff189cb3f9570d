#include "client/expert_tables.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/format.h"
#include "client/table.h"

namespace peerage {
namespace {

// "2026-11-25T17:22:51Z"
std::string WholeSeconds(google::protobuf::Timestamp time) {
  time.set_nanos(0);
  return google::protobuf::util::TimeUtil::ToString(time);
}

constexpr size_t kTopExperts = 16;
constexpr int kTracedExperts = 3;  // on a line

using Align = Table::Align;

// The most used first; among equals the lower id.
std::vector<uint32_t> TopExperts(const ExpertUsage& usage) {
  std::vector<uint32_t> ids(usage.selections.size());
  std::iota(ids.begin(), ids.end(), 0);
  const size_t top = std::min(kTopExperts, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + top, ids.end(), [&usage](uint32_t a, uint32_t b) {
    const uint64_t uses_a = usage.selections[a];
    const uint64_t uses_b = usage.selections[b];
    return uses_a != uses_b ? uses_a > uses_b : a < b;
  });
  ids.resize(top);
  while (!ids.empty() && usage.selections[ids.back()] == 0) ids.pop_back();
  return ids;
}

}  // namespace

std::string ExpertLayerTable(const v1::WatchExpertSummaryResponse& summary) {
  Table table({{"layer", Align::kRight},
               {"kind"},
               {"experts", Align::kRight},
               {"tokens", Align::kRight},
               {"selections", Align::kRight},
               {"used", Align::kRight},
               {"expected", Align::kRight},
               {"unevenness", Align::kRight},
               {"bias", Align::kRight},
               {"effective", Align::kRight},
               {"Gini", Align::kRight},
               {"top 1 %", Align::kRight}});
  for (const v1::LayerSummary& layer : summary.layers()) {
    table.AddRow({absl::StrCat(layer.layer()), ExpertKindName(layer.kind()),
                  FormatWhole(layer.num_experts()), FormatWhole(layer.tokens()),
                  FormatWhole(layer.selections()), FormatPercent(layer.used_ratio()),
                  FormatPercent(layer.used_expected_ratio()),
                  absl::StrFormat("%.3f", layer.unevenness_nats()),
                  absl::StrFormat("%.3f", layer.unevenness_bias_nats()),
                  FormatWhole(std::llround(layer.effective_experts())),
                  absl::StrFormat("%.3f", layer.gini()),
                  FormatPercent(layer.top_1_percent_share())});
  }
  return table.ToString();
}

std::string ExpertUsageReport(const ExpertUsage& usage, const ExpertNames& names) {
  const v1::UsageHeader& header = usage.header;
  const auto used = std::count_if(usage.selections.begin(), usage.selections.end(),
                                  [](uint64_t count) { return count > 0; });
  std::string report = absl::StrCat(
      "layer ", header.layer(), " (", ExpertKindName(header.kind()), ") used ", FormatWhole(used),
      " of ", FormatWhole(header.num_experts()), " experts: ", FormatWhole(header.tokens()),
      " tokens, ", FormatWhole(header.selections()), " selections, ",
      WholeSeconds(header.window_start()), " to ", WholeSeconds(header.window_end()), "\n");
  const double scores = std::accumulate(usage.score_sums.begin(), usage.score_sums.end(), 0.0);
  Table table({{"expert", Align::kRight},
               {"selections", Align::kRight},
               {"share", Align::kRight},
               {"share of scores", Align::kRight}});
  for (const uint32_t id : TopExperts(usage)) {
    const double share = static_cast<double>(usage.selections[id]) / header.selections();
    table.AddRow({names.Of(header.layer(), header.kind(), id), FormatWhole(usage.selections[id]),
                  FormatPercent(share),
                  scores > 0 ? FormatPercent(usage.score_sums[id] / scores) : "-"});
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
                    FormatWhole(std::llround(std::exp(layer.entropy_nats()))));
    const int top =
        std::min({kTracedExperts, layer.top_expert_ids_size(), layer.top_expert_shares_size()});
    for (int i = 0; i < top; ++i) {
      absl::StrAppend(&lines, i == 0 ? "; most used " : ", ",
                      names.Of(layer.layer(), layer.kind(), layer.top_expert_ids(i)), " (",
                      FormatPercent(layer.top_expert_shares(i)), ")");
    }
    lines += "\n";
  }
  return lines;
}

std::string ExpertKindName(v1::ExpertLayerKind kind) {
  switch (kind) {
    case v1::EXPERT_LAYER_KIND_PEER:
      return "peer";
    case v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY:
      return "pkm";
    case v1::EXPERT_LAYER_KIND_MIXTURE_FFN:
      return "mixture_ffn";
    case v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION:
      return "mixture_attention";
    default:
      return "unknown";
  }
}

}  // namespace peerage
