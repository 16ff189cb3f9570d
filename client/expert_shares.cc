#include "client/expert_shares.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace peerage {

std::vector<uint32_t> MostUsedExperts(const ExpertUsage& usage, size_t count) {
  std::vector<uint32_t> ids(usage.selections.size());
  std::iota(ids.begin(), ids.end(), 0);
  count = std::min(count, ids.size());
  const auto rank = [&usage](uint32_t id) {
    return std::make_tuple(~usage.selections[id], -usage.score_sums[id], id);
  };
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(),
                    [&rank](uint32_t a, uint32_t b) { return rank(a) < rank(b); });
  ids.resize(count);
  return ids;
}

bool IsSoft(uint64_t tokens, uint64_t selections, uint64_t num_experts) {
  return tokens > 0 && selections == tokens * num_experts;
}

std::vector<double> ScoreShares(const ExpertUsage& usage) {
  const double sum = std::accumulate(usage.score_sums.begin(), usage.score_sums.end(), 0.0);
  if (!(sum > 0)) return {};
  std::vector<double> shares = usage.score_sums;
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace peerage
