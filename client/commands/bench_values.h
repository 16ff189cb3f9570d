#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/bench/figures.h"

namespace peerage::client {

inline constexpr double kLargestRate = 1e5;

// The values of `peerage bench`'s options that are more than a number. Errors are INVALID_ARGUMENT
// and begin with the option.

// "1,2.5", or "inf".
absl::StatusOr<std::vector<double>> ParseRates(const std::string& text);
// "1,8"; nothing is one without a limit.
absl::StatusOr<std::vector<std::optional<uint32_t>>> ParseConcurrencies(const std::string& text);
absl::StatusOr<std::set<Latency>> ParseMetrics(const std::string& text);
absl::StatusOr<std::vector<double>> ParsePercents(const std::string& text);

// "ttft:500 tpot:30": bounds in milliseconds, each at most once; scores have e2el alone.
absl::StatusOr<Goodput> ParseGoodput(const std::vector<std::string>& bounds, bool score);

}  // namespace peerage::client
