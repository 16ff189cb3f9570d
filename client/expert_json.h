#pragma once

#include "absl/types/span.h"
#include "client/expert_layers.h"
#include "client/expert_usage.h"
#include "client/message_json.h"
#include "client/mixture_table.h"
#include "peerage/v1/experts.pb.h"

namespace peerage::client {

// What the table of all layers shows, for machines: "time", "layers" with the summary's figures,
// and "means" of each kind of which there are several. A layer of a mixture has "routing" and its
// "experts", too: of each its id, name (where it has one) and share_of_scores, null when nothing
// was counted. `mixtures` are the summary's.
Json ExpertSummaryJson(const v1::WatchExpertSummaryResponse& summary,
                       absl::Span<const MixtureLayer> mixtures, const ExpertNames& names);

// What the report of one layer shows: the header's fields and "experts": of each its id, name
// (where it has one), selections, score_sum and its shares of both; the most used first, at most
// 256 (all of a mixture).
Json ExpertUsageJson(const ExpertUsage& usage, const ExpertNames& names = {});

}  // namespace peerage::client
