#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "client/expert_usage.h"

namespace peerage {

// The ids of the `count` most used experts, or of all: most selections first, then the larger sum
// of scores, then the lower id.
std::vector<uint32_t> MostUsedExperts(const ExpertUsage& usage, size_t count);

// Whether every token had every expert: soft routing. Selections then tell experts apart no longer.
bool IsSoft(uint64_t tokens, uint64_t selections, uint64_t num_experts);

// Each expert's share of all scores: with soft routing its mean gate. Empty when no score was
// counted.
std::vector<double> ScoreShares(const ExpertUsage& usage);

}  // namespace peerage
