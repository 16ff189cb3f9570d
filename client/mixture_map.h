#pragma once

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/expert_names.h"
#include "client/expert_usage.h"
#include "client/image.h"

namespace peerage {

// Draws each expert's share of the scores in per cent (its mean gate with soft routing): layers
// downwards, experts with their names across, one panel for each kind and list of names.
// INVALID_ARGUMENT when there is no layer, or more than a picture can hold.
absl::StatusOr<Image> DrawMixtureMap(absl::Span<const ExpertUsage> layers,
                                     const ExpertNames& names);

}  // namespace peerage
