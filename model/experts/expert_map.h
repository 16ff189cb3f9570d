#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/experts/image.h"

namespace peerage {

// How experts lie on a map: expert r * side + c in row r (first sub-key) and column c (second).
struct ExpertGrid {
  int maps = 1;  // one beside or below the other, each of `experts` experts
  int side = 0;  // of each map
  uint64_t experts = 0;
};

// `maps` is the number of heads when each has its own experts, else 1: what is not a square number
// is drawn as one whose last rows are not full. INVALID_ARGUMENT when `maps` does not divide the
// experts, OUT_OF_RANGE when the picture would be too large: with more than 8,192 experts across.
absl::StatusOr<ExpertGrid> ArrangeExperts(uint64_t num_experts, int maps);

enum class MapScale { kLog, kLinear };

struct MapStyle {
  MapScale scale = MapScale::kLog;
  Palette palette = Palette::kInferno;
};

// Draws how often each expert was selected over a legend with the scale's values. An expert is at
// least one pixel, and the picture 512 pixels wide or more. Precondition: the grid was arranged for
// so many experts.
Image DrawExpertMap(absl::Span<const uint64_t> selections, const ExpertGrid& grid,
                    const MapStyle& style = {});

}  // namespace peerage
