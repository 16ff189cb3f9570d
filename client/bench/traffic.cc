#include "client/bench/traffic.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace peerage::client {
namespace {

double RateOf(const Traffic& traffic, size_t request, size_t count) {
  if (!traffic.ramp_up.has_value()) return traffic.request_rate;
  const RampUp& ramp = *traffic.ramp_up;
  const double progress =
      static_cast<double>(request) / static_cast<double>(std::max<size_t>(count - 1, 1));
  if (ramp.exponential) return ramp.start_rps * std::pow(ramp.end_rps / ramp.start_rps, progress);
  return ramp.start_rps + (ramp.end_rps - ramp.start_rps) * progress;
}

}  // namespace

bool Traffic::open_loop() const { return ramp_up.has_value() || std::isfinite(request_rate); }

std::vector<absl::Duration> Arrivals(const Traffic& traffic, size_t count, uint64_t seed) {
  if (!traffic.open_loop()) return std::vector<absl::Duration>(count, absl::ZeroDuration());
  std::mt19937_64 random(seed);
  std::gamma_distribution<double> interval(traffic.burstiness, 1 / traffic.burstiness);  // mean 1
  std::vector<double> seconds;
  double now = 0;
  for (size_t i = 0; i < count; ++i) {
    now += interval(random) / RateOf(traffic, i, count);
    seconds.push_back(now);
  }
  double scale = 1;
  if (!traffic.ramp_up.has_value() && now > 0) {
    scale = static_cast<double>(count) / traffic.request_rate / now;
  }
  std::vector<absl::Duration> arrivals;
  for (const double second : seconds) arrivals.push_back(absl::Seconds(second * scale));
  return arrivals;
}

}  // namespace peerage::client
