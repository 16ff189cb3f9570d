#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "model/checkpoint/layout/tensor_spec.h"

namespace peerage {

// What `mixtral` files call the tensors of a mixture of feed-forward experts, in both of their
// namings.
struct MixtralNames {
  bool packed = false;      // TensorNaming::kMixtralPacked
  int64_t num_experts = 0;  // of a layer

  // Sets a spec's parts and transform. `name` is the canonical one without the prefix of the layer
  // ("ffn.mixture.router.weight"), and so are the parts' names.
  void StoreIn(absl::string_view name, TensorSpec& spec) const;
};

// Whether a stored tensor of this name says that a file's naming is kMixtralPacked.
bool HoldsPackedExperts(absl::string_view name);

}  // namespace peerage
