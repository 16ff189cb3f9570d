#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/expert_usage.h"
#include "model/experts/image.h"
#include "peerage/v1/models.pb.h"

namespace peerage::client {

// How a picture of experts is asked for.
struct ExpertPicture {
  std::string window;       // "recent", as the caption says
  std::optional<int> maps;  // what the caller takes the sets of experts for
  int scale = 1;            // 1 to MapFrame::kLargestZoom
};

// Draws one layer of experts that are found by product keys, a map for each head that has its own,
// or layers of mixtures (model/experts). INVALID_ARGUMENT when the layer has another number of maps
// than was asked for, and for several layers that are no mixtures; OUT_OF_RANGE for what is too
// large. Precondition: there is a layer, all are of one model, and `models` has it.
absl::StatusOr<Image> DrawExperts(const v1::ListModelsResponse& models,
                                  absl::Span<const ExpertUsage> layers,
                                  const ExpertPicture& picture);

// "layer 1, peer"; of several layers "30 layers".
std::string DescribeExperts(absl::Span<const ExpertUsage> layers);

}  // namespace peerage::client
