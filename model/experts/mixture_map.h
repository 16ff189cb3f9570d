#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/experts/image.h"
#include "model/experts/map_frame.h"

namespace peerage {

// A layer of a mixture as the map shows it.
struct MixtureMapLayer {
  std::string kind;  // "mixture_ffn"
  uint32_t layer = 0;
  std::vector<std::string>
      names;                   // [num_experts]; of each the beginning is drawn, 12 letters or so
  std::vector<double> scores;  // [num_experts]: sums of weights
};

// Draws each expert's share of the scores in per cent (its mean gate with soft routing): layers
// downwards, experts with their names across, one panel for each kind and list of names, between
// the caption and a legend. A layer whose scores have no shares (ScoreShares) is grey.
// INVALID_ARGUMENT when there is no layer or `zoom` is not 1 to MapFrame::kLargestZoom,
// OUT_OF_RANGE when there are more experts than a picture can hold.
absl::StatusOr<Image> DrawMixtureMap(absl::Span<const MixtureMapLayer> layers,
                                     const MapCaption& caption, int zoom = 1);

// Where a panel's cells are in the picture of layers of one kind and one list of names, and how
// large they are.
struct MixtureCells {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
};
MixtureCells CellsOfOnePanel(absl::Span<const MixtureMapLayer> layers, int zoom = 1);

}  // namespace peerage
