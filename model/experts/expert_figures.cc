#include "model/experts/expert_figures.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/numeric/int128.h"

namespace peerage {
namespace {

// Experts with equally many selections.
struct Group {
  uint64_t selections = 0;
  uint64_t experts = 0;
};

// In ascending order of selections. Most counts are small: those are counted, the others sorted.
std::vector<Group> GroupBySelections(absl::Span<const uint64_t> selections) {
  constexpr uint64_t kCounted = 1 << 16;
  std::vector<uint64_t> experts_with(kCounted);
  std::vector<uint64_t> large;
  for (const uint64_t count : selections) {
    if (count < kCounted) {
      ++experts_with[count];
    } else {
      large.push_back(count);
    }
  }
  std::vector<Group> groups;
  for (uint64_t count = 0; count < kCounted; ++count) {
    if (experts_with[count] > 0) groups.push_back({count, experts_with[count]});
  }
  std::sort(large.begin(), large.end());
  for (const uint64_t count : large) groups.push_back({count, 1});
  return groups;
}

// G = (2 sum_i i x_i - (N + 1) sum x) / (N sum x) over ascending x, i from 1.
double Gini(const std::vector<Group>& groups, uint64_t num_experts, uint64_t selections) {
  absl::uint128 rank_sum = 0;  // of i x_i
  uint64_t below = 0;
  for (const auto& [count, experts] : groups) {
    const absl::uint128 ranks = absl::uint128(experts) * (2 * below + experts + 1) / 2;
    rank_sum += ranks * count;
    below += experts;
  }
  const absl::uint128 total = selections;
  return static_cast<double>(2 * rank_sum - total * (num_experts + 1)) /
         (static_cast<double>(num_experts) * static_cast<double>(selections));
}

double TopShare(const std::vector<Group>& groups, uint64_t top, uint64_t selections) {
  absl::uint128 sum = 0;
  for (auto group = groups.rbegin(); top > 0; ++group) {
    const uint64_t taken = std::min(top, group->experts);
    sum += absl::uint128(taken) * group->selections;
    top -= taken;
  }
  return static_cast<double>(sum) / static_cast<double>(selections);
}

// sum z ln(N z) as the mean of r ln r - r + 1 with r = N z: the added terms cancel over all
// experts, and every term is then non-negative, so that an even usage is not lost in rounding.
double Divergence(absl::Span<const double> scores, double sum) {
  const double scale = static_cast<double>(scores.size()) / sum;
  double total = 0;
  for (const double score : scores) {
    const double r = score * scale;
    total += r > 0 ? std::max(0.0, r * std::log(r) - (r - 1)) : 1;
  }
  return total / static_cast<double>(scores.size());
}

double ExpectedUsedRatio(double num_experts, double selections) {
  return num_experts == 1 ? 1 : -std::expm1(selections * std::log1p(-1 / num_experts));
}

}  // namespace

ExpertFigures ComputeExpertFigures(absl::Span<const uint64_t> selections,
                                   absl::Span<const double> scores) {
  assert(!selections.empty() && selections.size() == scores.size());
  ExpertFigures figures;
  for (const uint64_t count : selections) figures.selections += count;
  if (figures.selections == 0) return figures;

  const std::vector<Group> groups = GroupBySelections(selections);
  const uint64_t num_experts = selections.size();
  const auto n = static_cast<double>(num_experts);
  const uint64_t unused = groups.front().selections == 0 ? groups.front().experts : 0;
  figures.used_ratio = static_cast<double>(num_experts - unused) / n;
  figures.used_expected_ratio = ExpectedUsedRatio(n, static_cast<double>(figures.selections));
  figures.unevenness_bias_nats = (n - 1) / (2 * static_cast<double>(figures.selections));
  figures.gini = Gini(groups, num_experts, figures.selections);
  figures.top_1_percent_share = TopShare(groups, (num_experts + 99) / 100, figures.selections);

  double sum = 0;
  for (const double score : scores) sum += score;
  if (sum > 0) {
    figures.unevenness_nats = Divergence(scores, sum);
    figures.effective_experts = n * std::exp(-figures.unevenness_nats);
  }
  return figures;
}

}  // namespace peerage
