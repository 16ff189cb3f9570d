#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace peerage {

// What the counts of one expert layer say, as numbers: `selections` [num_experts] are how often
// each expert was picked, `scores` [num_experts] the sums of the weights it was picked with.
//
// Precondition of all: both have one entry for each expert.

// The ids of the `count` most used experts, or of all: most selections first, then the larger sum
// of scores (a NaN is as good as 0), then the lower id.
std::vector<uint32_t> MostUsedExperts(absl::Span<const uint64_t> selections,
                                      absl::Span<const double> scores, size_t count);

// Whether every token had every expert: soft routing. Selections then tell experts apart no longer.
bool IsSoft(uint64_t tokens, uint64_t selections, uint64_t num_experts);

// Each expert's share of all scores: with soft routing its mean gate. Empty when no score was
// counted, and when they are no sums of weights: negative, infinite or NaN.
std::vector<double> ScoreShares(absl::Span<const double> scores);

// Selections of experts found by product keys, of all sets together: expert i * n + j of a set has
// the first sub-key i and the second j.
struct SubKeySelections {
  std::vector<uint64_t> rows;     // [n], by the first
  std::vector<uint64_t> columns;  // [n], by the second
};
// Precondition: n is positive, and n * n divides the number of experts.
SubKeySelections SelectionsBySubKey(absl::Span<const uint64_t> selections, uint32_t num_sub_keys);

// The bytes of a NumPy file (format 1.0): float64 [2, num_experts], selections and scores. Counts
// beyond 2^53 are rounded.
std::string ToNpy(absl::Span<const uint64_t> selections, absl::Span<const double> scores);

// What ToNpy wrote, or NumPy in the same form. INVALID_ARGUMENT for everything else, and for
// selections that are no counts up to 2^53.
struct ExpertNumbers {
  std::vector<uint64_t> selections;
  std::vector<double> scores;
};
absl::StatusOr<ExpertNumbers> FromNpy(absl::string_view bytes);

}  // namespace peerage
