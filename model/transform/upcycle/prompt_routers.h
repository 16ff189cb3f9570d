#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/transform/upcycle/expert_prompts.h"
#include "model/transform/upcycle/layer_inputs.h"
#include "model/transform/upcycle/upcycle_options.h"

namespace peerage::transform {

// Routers that know their experts without training, as mergekit's "hidden" gates do: the row of an
// expert is the mean of what the router would read on the expert's prompts (the hidden state after
// the layer's norm), divided by its length. Computed with the base model.
struct PromptRouters {
  std::map<std::string, std::vector<float>> values;  // [experts][hidden], by canonical name
  std::vector<std::string> warnings;
};

// Errors name the tensor. Precondition: the prompts are the base's tokens.
absl::StatusOr<PromptRouters> MakePromptRouters(const Checkpoint& base,
                                                const ExpertPrompts& prompts,
                                                UpcycledAttention attention,
                                                const LayerInputOptions& reading = {});

}  // namespace peerage::transform
