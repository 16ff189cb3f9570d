#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace peerage::client {

// One figure of one or more runs, with what it was made of: so many values of each run.
struct SampledFigure {
  struct Run {
    double figure = 0;
    std::vector<double> values;  // ascending
  };
  std::vector<Run> runs;
  // The figure is this percentile of the values; else it is in proportion to their mean.
  std::optional<double> percent;

  // Of all runs: their mean.
  double figure() const;
  // Whether there is enough to tell how much it could be otherwise: several runs, or of one run
  // enough values beyond the percentile.
  bool can_be_resampled() const;
};

// Where after / before lies with a probability of 99 %, had other runs been made that are like
// these, and had other requests been made in them (a percentile bootstrap, runs first). Of the
// seed. Precondition: both can be resampled.
std::pair<double, double> RatioInterval(const SampledFigure& before, const SampledFigure& after,
                                        uint64_t seed);

}  // namespace peerage::client
