#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "peerage/v1/experts.pb.h"
#include "peerage/v1/models.pb.h"

namespace peerage::client {

// One expert layer as a user names it.
struct ExpertLayerChoice {
  std::string model;  // empty: the server's own
  uint32_t layer = 0;
  v1::ExpertLayerKind kind = v1::EXPERT_LAYER_KIND_UNSPECIFIED;  // which the layer has, if one
};

// The kind of experts that is meant. NOT_FOUND when there is no such model, layer or kind,
// INVALID_ARGUMENT when the layer has several kinds and none was named; both say what there is.
absl::StatusOr<v1::ExpertLayerKind> FindExpertKind(const v1::ListModelsResponse& models,
                                                   const ExpertLayerChoice& choice);

}  // namespace peerage::client
