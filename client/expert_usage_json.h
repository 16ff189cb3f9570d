#pragma once

#include <string>

#include "client/expert_names.h"
#include "client/expert_usage.h"

namespace peerage::client {

// The header's fields in proto3's JSON mapping, and "experts": of each its id, name (where it has
// one), selections and score_sum; the most used first, at most 256 (all of a mixture).
std::string ExpertUsageJson(const ExpertUsage& usage, const ExpertNames& names = {});

}  // namespace peerage::client
