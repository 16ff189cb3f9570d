#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/experts/image.h"

namespace peerage {

// A layer of a mixture as the map shows it.
struct MixtureMapLayer {
  std::string kind;  // "mixture_ffn"
  uint32_t layer = 0;
  std::vector<std::string> names;  // [num_experts]; of each the first 12 bytes are drawn
  std::vector<double> scores;      // [num_experts]: sums of weights
};

// Draws each expert's share of the scores in per cent (its mean gate with soft routing): layers
// downwards, experts with their names across, one panel for each kind and list of names. A layer
// whose scores have no shares (ScoreShares) is grey. INVALID_ARGUMENT when there is no layer,
// OUT_OF_RANGE when there are more experts than a picture can hold.
absl::StatusOr<Image> DrawMixtureMap(absl::Span<const MixtureMapLayer> layers);

}  // namespace peerage
