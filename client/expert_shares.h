#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "client/expert_usage.h"

namespace peerage {

// The ids of the `count` most used experts, or of all: most selections first, then the larger sum
// of scores, then the lower id.
std::vector<uint32_t> MostUsedExperts(const ExpertUsage& usage, size_t count);

// Each expert's share of all scores: with soft routing its mean gate. Empty when no score was
// counted.
std::vector<double> ScoreShares(const ExpertUsage& usage);

}  // namespace peerage
