#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/experts/image.h"
#include "model/experts/map_frame.h"

namespace peerage {

// How experts lie on a map: expert r * side + c in row r (first sub-key) and column c (second).
struct ExpertGrid {
  int maps = 1;  // one beside or below the other, each of `experts` experts
  int side = 0;  // of each map
  uint64_t experts = 0;
  int zoom = 1;  // of the frame
  int cell = 1;  // pixels of an expert

  int columns() const;  // of maps
  int rows() const { return (maps + columns() - 1) / columns(); }
};

// `maps` is the number of heads when each has its own experts, else 1: what is not a square number
// is drawn as one whose last rows are not full. All maps together are at least 512 pixels wide,
// `zoom` times that. INVALID_ARGUMENT when `maps` does not divide the experts or `zoom` is not 1 to
// MapFrame::kLargestZoom, OUT_OF_RANGE when the picture would be too large: with more than 8,192
// experts across, or with zoom more than 8,192 pixels.
absl::StatusOr<ExpertGrid> ArrangeExperts(uint64_t num_experts, int maps, int zoom = 1);

enum class MapScale { kLog, kLinear };

struct MapStyle {
  MapScale scale = MapScale::kLog;
  Palette palette = Palette::kInferno;
};

// Where the first expert of a map is in the picture.
struct MapCorner {
  int left = 0;
  int top = 0;
};
MapCorner CornerOfMap(const ExpertGrid& grid, int map);

// Draws how often each expert was selected between a caption, numbered axes and a legend with the
// scale's values. Precondition: the grid was arranged for so many experts.
Image DrawExpertMap(absl::Span<const uint64_t> selections, const ExpertGrid& grid,
                    const MapCaption& caption, const MapStyle& style = {});

}  // namespace peerage
