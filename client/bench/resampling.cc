#include "client/bench/resampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <random>

#include "client/bench/statistics.h"

namespace peerage::client {
namespace {

constexpr int kResamples = 4000;
constexpr double kOutside = 0.5;     // percent, at either end
constexpr double kLeastBeyond = 5;   // values beyond a percentile, so that it can be told
constexpr size_t kLeastOfAMean = 5;  // values

using Random = std::mt19937_64;

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

size_t Pick(size_t count, Random& random) {
  return std::uniform_int_distribution<size_t>(0, count - 1)(random);
}

// The percentile of as many values drawn from these. Drawing one is enough: the k-th smallest of n
// uniform numbers has a beta distribution.
double ResampledPercentile(const std::vector<double>& sorted, double percent, Random& random) {
  const auto count = static_cast<double>(sorted.size());
  const double rank = percent / 100 * (count - 1) + 1;
  const double below = std::gamma_distribution<double>(rank, 1)(random);
  const double above = std::gamma_distribution<double>(count - rank + 1, 1)(random);
  const auto at = static_cast<size_t>(below / (below + above) * count);
  return sorted[std::min(at, sorted.size() - 1)];
}

double ResampledMean(const std::vector<double>& values, Random& random) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += values[Pick(values.size(), random)];
  return sum / static_cast<double>(values.size());
}

double Resampled(const SampledFigure& figure, const SampledFigure::Run& run, Random& random) {
  if (figure.percent) {
    return run.values.empty() ? run.figure
                              : ResampledPercentile(run.values, *figure.percent, random);
  }
  if (run.values.size() < kLeastOfAMean) return run.figure;
  return run.figure * ResampledMean(run.values, random) / Mean(run.values);
}

// Of one run less than there are: n runs that are drawn from n differ too little, by (n - 1) / n.
double Resampled(const SampledFigure& figure, Random& random) {
  const size_t runs = std::max<size_t>(figure.runs.size() - 1, 1);
  double sum = 0;
  for (size_t i = 0; i < runs; ++i) {
    sum += Resampled(figure, figure.runs[Pick(figure.runs.size(), random)], random);
  }
  return sum / static_cast<double>(runs);
}

}  // namespace

double SampledFigure::figure() const {
  double sum = 0;
  for (const Run& run : runs) sum += run.figure;
  return sum / static_cast<double>(runs.size());
}

bool SampledFigure::can_be_resampled() const {
  if (runs.empty() || figure() <= 0) return false;
  size_t values = 0;
  for (const Run& run : runs) values += run.values.size();
  if (!percent) return runs.size() > 1 || values >= kLeastOfAMean;
  return static_cast<double>(values) * (1 - *percent / 100) >= kLeastBeyond;
}

std::pair<double, double> RatioInterval(const SampledFigure& before, const SampledFigure& after,
                                        uint64_t seed) {
  Random random(seed);
  std::vector<double> ratios;
  for (int i = 0; i < kResamples; ++i) {
    const double now = Resampled(after, random);
    ratios.push_back(now / Resampled(before, random));
  }
  std::sort(ratios.begin(), ratios.end());
  return {Percentile(ratios, kOutside), Percentile(ratios, 100 - kOutside)};
}

}  // namespace peerage::client
