#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "peerage/v1/experts.pb.h"

namespace peerage::client {

// One expert layer's usage as GetExpertUsage streams it.
struct ExpertUsage {
  v1::UsageHeader header;
  std::vector<uint64_t> selections;  // [num_experts]
  std::vector<double> score_sums;    // [num_experts]

  // The next message of the stream. DATA_LOSS when it does not follow the ones before.
  absl::Status Add(const v1::GetExpertUsageResponse& response);
  // DATA_LOSS when experts are missing.
  absl::Status CheckComplete() const;
};

}  // namespace peerage::client
