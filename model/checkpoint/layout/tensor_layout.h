#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "model/checkpoint/layout/tensor_spec.h"
#include "model/config/model_config.h"

namespace peerage {

// Whose names the tensors of a file have. kMixtral: kLlama's, and a tensor for each matrix of an
// expert. kMixtralPacked: kLlama's, and all experts' matrices in one tensor.
enum class TensorNaming { kPeerage, kLlama, kMixtral, kMixtralPacked, kGguf };

// Every tensor of a model in the order of its plan, each with the stored tensors that it is made
// of.
// Precondition: the config came from a parser, so that its values are in range.
std::vector<TensorSpec> TensorLayout(const ModelConfig& config, TensorNaming naming);

// Whether a tensor that is stored beside the layout's is known to compute nothing: of `llama`
// and `mixtral` files rotary_emb.inv_freq (a buffer of old versions), of PEER's layouts what
// peer_layout.h names, and of all but GGUF the head of a model that says it is tied.
bool IsIgnored(const ModelConfig& config, TensorNaming naming, absl::string_view name);

}  // namespace peerage
