#include "client/mixture_table.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/number_text.h"
#include "client/expert_layers.h"
#include "client/terminal_text.h"
#include "model/experts/expert_numbers.h"

namespace peerage::client {
namespace {

using Align = Table::Align;

struct ShareRow {
  uint32_t layer = 0;
  v1::ExpertLayerKind kind = v1::EXPERT_LAYER_KIND_UNSPECIFIED;
  uint64_t tokens = 0;
  std::string routing;  // "soft", "top 2"
  double effective = 0;
  std::vector<double> shares;  // of the experts; empty: nothing was counted
};

// The layers whose experts have the same names, in the model's order.
struct Section {
  std::vector<std::string> names;
  std::vector<ShareRow> rows;
};

ShareRow ShareRowOf(const MixtureLayer& layer) {
  return {.layer = layer.summary.layer(),
          .kind = layer.summary.kind(),
          .tokens = layer.summary.tokens(),
          .routing = Routing(layer.summary),
          .effective = layer.summary.effective_experts(),
          .shares = ScoreShares(layer.usage.score_sums)};
}

std::vector<Section> SectionsOf(absl::Span<const MixtureLayer> layers, const ExpertNames& names) {
  std::vector<Section> sections;
  for (const MixtureLayer& layer : layers) {
    std::vector<std::string> experts = names.OfAll(layer.usage);
    const auto same = std::find_if(sections.begin(), sections.end(),
                                   [&](const Section& s) { return s.names == experts; });
    if (same == sections.end()) {
      sections.push_back({std::move(experts), {ShareRowOf(layer)}});
    } else {
      same->rows.push_back(ShareRowOf(layer));
    }
  }
  return sections;
}

void AddRow(const std::string& layer, const ShareRow& row, Table& table, size_t experts) {
  std::vector<std::string> cells = {layer, ExpertKindName(row.kind), row.routing,
                                    FormatWhole(row.tokens),
                                    row.shares.empty() ? "-" : FormatThreeDigits(row.effective)};
  for (size_t i = 0; i < experts; ++i) {
    cells.push_back(row.shares.empty() ? "-" : FormatPercent(row.shares[i]));
  }
  table.AddRow(std::move(cells));
}

// The rows of one kind of which something was counted.
std::vector<ShareRow> UsedRows(const Section& section, v1::ExpertLayerKind kind) {
  std::vector<ShareRow> rows;
  for (const ShareRow& row : section.rows) {
    if (row.kind == kind && !row.shares.empty()) rows.push_back(row);
  }
  return rows;
}

// What the row of means shows for these. Precondition: there is at least one.
ShareRow MeanOf(const std::vector<ShareRow>& rows) {
  ShareRow mean = rows.front();
  const auto count = static_cast<double>(rows.size());
  mean.effective = 0;
  std::fill(mean.shares.begin(), mean.shares.end(), 0);
  for (const ShareRow& row : rows) {
    mean.effective += row.effective / count;
    for (size_t i = 0; i < mean.shares.size(); ++i) mean.shares[i] += row.shares[i] / count;
    if (row.routing != mean.routing) mean.routing = "-";
  }
  return mean;
}

std::string Leader(const Section& section, const ShareRow& row) {
  const size_t top = std::max_element(row.shares.begin(), row.shares.end()) - row.shares.begin();
  return absl::StrCat("layer ", row.layer, " (", section.names[top], " ",
                      FormatPercent(row.shares[top]), ")");
}

std::string Extremes(const Section& section, const std::vector<ShareRow>& rows) {
  const auto [least, most] = std::minmax_element(
      rows.begin(), rows.end(),
      [](const ShareRow& a, const ShareRow& b) { return a.effective < b.effective; });
  return absl::StrCat(ExpertKindName(rows.front().kind), " is least even in ",
                      Leader(section, *least), ", most even in ", Leader(section, *most), "\n");
}

std::string SectionText(const Section& section) {
  std::vector<Table::Column> columns = {{"layer", Align::kRight},
                                        {"kind"},
                                        {"routing"},
                                        {"tokens", Align::kRight},
                                        {"effective", Align::kRight}};
  for (const std::string& name : section.names) columns.push_back({name, Align::kRight});
  Table table(std::move(columns));
  for (const ShareRow& row : section.rows) {
    AddRow(absl::StrCat(row.layer), row, table, section.names.size());
  }
  std::string extremes;
  for (const auto kind :
       {v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION, v1::EXPERT_LAYER_KIND_MIXTURE_FFN}) {
    const std::vector<ShareRow> rows = UsedRows(section, kind);
    if (rows.size() < 2) continue;
    AddRow("mean", MeanOf(rows), table, section.names.size());
    extremes += Extremes(section, rows);
  }
  return table.ToString() + extremes;
}

}  // namespace

std::string Routing(const v1::LayerSummary& summary) {
  if (summary.tokens() == 0) return "-";
  if (IsSoft(summary.tokens(), summary.selections(), summary.num_experts())) return "soft";
  return absl::StrCat("top ", summary.selections() / summary.tokens());
}

std::string MixtureTable(absl::Span<const MixtureLayer> layers, const ExpertNames& names) {
  std::string text = "share of the scores of each expert (with soft routing: its mean gate)\n";
  for (const Section& section : SectionsOf(layers, names)) text += SectionText(section);
  return text;
}

}  // namespace peerage::client
