#pragma once

#include <optional>
#include <string>

#include "absl/types/span.h"
#include "client/expert_layers.h"
#include "client/expert_usage.h"
#include "client/mixture_table.h"
#include "peerage/v1/experts.pb.h"

namespace peerage::client {

// One row for each expert layer with the figures of its use (docs/experts.md), then the mean of
// each kind of which there are several. A dash stands for what says nothing: the Gini coefficient
// of soft routing, a percentage of less than a hundred experts.
std::string ExpertLayerTable(const v1::WatchExpertSummaryResponse& summary);

// The table of a model that may have mixtures: those of few experts come in a table of their own
// (client/mixture_table.h), the other layers in the one above. `mixtures` are the summary's.
std::string ExpertSummaryText(const v1::WatchExpertSummaryResponse& summary,
                              absl::Span<const MixtureLayer> mixtures, const ExpertNames& names);

// What was used of one layer and when, and its most used experts: by selections and by scores, with
// soft routing by their mean gate alone.
std::string ExpertUsageReport(const ExpertUsage& usage, const ExpertNames& names = {});

// The mean of all figures over the layers of a kind, if there are several.
std::optional<v1::LayerSummary> MeanOfKind(const v1::WatchExpertSummaryResponse& summary,
                                           v1::ExpertLayerKind kind);

// One line for each layer: "layer 1 used 812 of 4,096 experts in 12,800 selections, ...".
std::string ExpertTraceLines(const v1::ExpertTrace& trace, const ExpertNames& names = {});

}  // namespace peerage::client
