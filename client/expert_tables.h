#pragma once

#include <string>

#include "client/expert_names.h"
#include "client/expert_usage.h"
#include "peerage/v1/experts.pb.h"

namespace peerage {

// One row for each expert layer with the figures of its use (docs/experts.md).
std::string ExpertLayerTable(const v1::WatchExpertSummaryResponse& summary);

// What was used of one layer and when, and its most used experts.
std::string ExpertUsageReport(const ExpertUsage& usage, const ExpertNames& names = {});

// One line for each layer: "layer 1 used 812 of 4,096 experts, ...".
std::string ExpertTraceLines(const v1::ExpertTrace& trace, const ExpertNames& names = {});

// "peer", "pkm", "mixture_ffn" or "mixture_attention".
std::string ExpertKindName(v1::ExpertLayerKind kind);

}  // namespace peerage
