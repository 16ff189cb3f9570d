#include "model/experts/expert_figures.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>
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

// sum z ln(N z) is the mean of r ln r - r + 1 with r = N z: the added terms cancel over all
// experts, and every term is then non-negative, so that an even usage is not lost in rounding.
double DivergenceTerm(double r) { return r > 0 ? std::max(0.0, r * std::log(r) - (r - 1)) : 1; }

double Divergence(absl::Span<const double> scores, double sum) {
  const double scale = static_cast<double>(scores.size()) / sum;
  double total = 0;
  for (const double score : scores) total += DivergenceTerm(score * scale);
  return total / static_cast<double>(scores.size());
}

// The same of the selections.
double Divergence(const std::vector<Group>& groups, uint64_t num_experts, uint64_t selections) {
  const double scale = static_cast<double>(num_experts) / static_cast<double>(selections);
  double total = 0;
  for (const auto& [count, experts] : groups) {
    total += DivergenceTerm(static_cast<double>(count) * scale) * static_cast<double>(experts);
  }
  return total / static_cast<double>(num_experts);
}

// A set of experts is left out by a head's token with probability 1 - top_k / its size.
double ExpectedUsedRatio(const LayerUsage& usage, uint64_t selections) {
  const double top_k = usage.top_k, sets = usage.expert_sets;
  const double set = static_cast<double>(usage.selections.size()) / sets;
  if (top_k >= set) return 1;
  const double draws = static_cast<double>(selections) / (sets * top_k);
  return -std::expm1(draws * std::log1p(-top_k / set));
}

uint64_t CeilOfShare(uint64_t num_experts, double share) {
  const auto parts = static_cast<uint64_t>(std::llround(1 / share));
  return (num_experts + parts - 1) / parts;
}

}  // namespace

double ExpectedUnevenness(double num_experts, double selections) {
  const double mean = selections / num_experts;
  // Taylor's series of E[c ln c] around the mean; what is left out is below 1e-11.
  if (mean > 1e4) return 1 / (2 * mean) + 1 / (12 * mean * mean);
  // Beyond these counts less than 1e-20 of the probability is left.
  const double spread = 10 * std::sqrt(mean) + 25;
  const double first = std::max(2.0, std::floor(mean - spread));  // 0 ln 0 and 1 ln 1 are 0
  const double last = std::ceil(mean + spread);
  double sum = 0;
  for (double count = first; count <= last; ++count) {
    const double probability = std::exp(count * std::log(mean) - mean - std::lgamma(count + 1));
    sum += probability * count * std::log(count);
  }
  return std::min(std::max(0.0, sum / mean - std::log(mean)), std::log(num_experts));
}

SubKeyFigures ComputeSubKeyFigures(absl::Span<const uint64_t> picks) {
  double sum = 0, moment = 0, used = 0;
  for (const uint64_t count : picks) {
    if (count == 0) continue;
    const auto c = static_cast<double>(count);
    ++used;
    sum += c;
    moment += c * std::log(c);
  }
  const auto n = static_cast<double>(picks.size());
  if (sum == 0 || n < 2) return {.used_ratio = used / n};
  const double entropy = std::max(0.0, std::log(sum) - moment / sum);
  return {.used_ratio = used / n, .entropy_ratio = entropy / std::log(n)};
}

double ExpertDrift(absl::Span<const uint64_t> a, absl::Span<const uint64_t> b) {
  assert(a.size() == b.size());
  const auto sum = [](absl::Span<const uint64_t> counts) {
    return std::accumulate(counts.begin(), counts.end(), 0.0);
  };
  const double sum_a = sum(a), sum_b = sum(b);
  if (sum_a == 0 || sum_b == 0) return 0;
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double p = static_cast<double>(a[i]) / sum_a, q = static_cast<double>(b[i]) / sum_b;
    const double middle = (p + q) / 2;
    if (p > 0) total += p * std::log(p / middle);
    if (q > 0) total += q * std::log(q / middle);
  }
  return std::max(0.0, total / 2);
}

ExpertFigures ComputeExpertFigures(const LayerUsage& usage) {
  assert(!usage.selections.empty() && usage.selections.size() == usage.scores.size());
  ExpertFigures figures;
  for (const uint64_t count : usage.selections) figures.selections += count;
  figures.unused = usage.selections.size();
  if (figures.selections == 0) return figures;

  const std::vector<Group> groups = GroupBySelections(usage.selections);
  const uint64_t num_experts = usage.selections.size();
  const auto n = static_cast<double>(num_experts);
  figures.unused = groups.front().selections == 0 ? groups.front().experts : 0;
  figures.used_ratio = static_cast<double>(num_experts - figures.unused) / n;
  figures.used_expected_ratio = ExpectedUsedRatio(usage, figures.selections);
  figures.by_count = {Divergence(groups, num_experts, figures.selections),
                      ExpectedUnevenness(n, static_cast<double>(figures.selections))};
  figures.gini = Gini(groups, num_experts, figures.selections);
  for (size_t i = 0; i < kTopShares.size(); ++i) {
    const uint64_t top = CeilOfShare(num_experts, kTopShares[i]);
    figures.top_share[i] = TopShare(groups, top, figures.selections);
  }

  double sum = 0;
  for (const double score : usage.scores) sum += score;
  if (sum > 0) {
    figures.by_score.nats = Divergence(usage.scores, sum);
    figures.effective_experts = n * std::exp(-figures.by_score.nats);
    if (usage.squared_scores > 0) {
      figures.by_score.expected_nats = ExpectedUnevenness(n, sum * sum / usage.squared_scores);
    }
  }
  return figures;
}

}  // namespace peerage
