#pragma once

#include "absl/strings/string_view.h"
#include "model/checkpoint/layout/tensor_spec.h"
#include "model/config/model_config.h"

namespace peerage {

// Under what names and in what order another project's checkpoint has the tensors of PEER (the
// config's layout; table in docs/model_format.md). Sets a canonical spec's parts and transform;
// names are without the prefix of the layer and kind, both ways. A config's parser has made sure
// that the layout stores every tensor that the config asks for.
TensorSpec StoredIn(const PeerConfig& config, TensorSpec canonical);

// Whether the layout has, beside its weights, a tensor of this name that computes nothing.
bool IsIgnored(PeerLayout layout, absl::string_view name);

}  // namespace peerage
