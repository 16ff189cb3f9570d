#include "client/expert_usage.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/little_endian.h"

namespace peerage::client {
absl::Status ExpertUsage::Add(const v1::GetExpertUsageResponse& response) {
  if (response.has_header()) {
    header = response.header();
    return absl::OkStatus();
  }
  const v1::UsageChunk& chunk = response.chunk();
  const size_t count = chunk.selections().size() / sizeof(uint64_t);
  const bool whole = chunk.selections().size() == count * sizeof(uint64_t) &&
                     chunk.score_sums().size() == count * sizeof(double);
  if (!whole || chunk.first_expert() != selections.size() ||
      count > header.num_experts() - selections.size()) {
    return absl::DataLossError(
        absl::StrCat("a chunk of expert usage does not follow expert ", selections.size()));
  }
  AppendFromLittleEndian(chunk.selections(), selections);
  AppendFromLittleEndian(chunk.score_sums(), score_sums);
  return absl::OkStatus();
}

absl::Status ExpertUsage::CheckComplete() const {
  if (selections.size() == header.num_experts()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the usage of ", header.num_experts(),
                                          " experts was announced, that of ", selections.size(),
                                          " came"));
}

}  // namespace peerage::client
