#pragma once

#include <cstddef>
#include <string>

#include "absl/types/span.h"
#include "client/expert_layers.h"
#include "client/expert_usage.h"
#include "peerage/v1/experts.pb.h"

namespace peerage::client {

// A layer of a mixture: its figures, and what was counted of each expert.
struct MixtureLayer {
  v1::LayerSummary summary;
  ExpertUsage usage;
};

// Beyond so many experts a row does not fit a line.
inline constexpr size_t kMixtureColumns = 8;

// How its experts are chosen, of what was counted: "soft", "top 2", "-" when nothing was.
std::string Routing(const v1::LayerSummary& summary);

// One row for each layer with every expert's share of the scores (docs/experts.md), then the mean
// of each kind's layers, and which of them are the least and the most even. Each list
// of names has a table of its own. Precondition: no layer has more than kMixtureColumns experts.
std::string MixtureTable(absl::Span<const MixtureLayer> layers, const ExpertNames& names);

}  // namespace peerage::client
