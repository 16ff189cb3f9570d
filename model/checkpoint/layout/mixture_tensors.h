#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "model/checkpoint/layout/tensor_naming.h"
#include "model/checkpoint/layout/tensor_spec.h"
#include "model/config/model_config.h"

namespace peerage {

// The tensors of a layer's mixture of attention (docs/model_format.md), which only `peerage` files
// have. Canonical and stored names are without the prefix of the layer ("attention.router.weight").
std::vector<TensorSpec> MixtureAttentionTensors(const ModelConfig& config,
                                                const AttentionConfig& attention);

// The tensors of a `mixture` of feed-forward parts; names likewise.
std::vector<TensorSpec> MixtureFfnTensors(const ModelConfig& config, const FfnConfig& ffn,
                                          TensorNaming naming);

// Whether a stored tensor of this name says that a file's naming is kMixtralPacked.
bool HoldsPackedExperts(absl::string_view name);

}  // namespace peerage
