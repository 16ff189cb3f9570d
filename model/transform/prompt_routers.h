#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/transform/upcycle.h"

namespace peerage::transform {

// Routers that know their experts without training, as mergekit's "hidden" gates do: the row of an
// expert is the mean of what the router would read on the expert's prompts (the hidden state after
// the layer's norm), divided by its length. Computed with the base model.
struct PromptRouters {
  std::map<std::string, std::vector<float>> values;  // [experts][hidden], by canonical name
  std::vector<std::string> warnings;
};

// `names` are the experts'; each needs a file among options.prompts, of which every line that is
// not empty is a prompt. All files together hold at most 16,384 tokens.
absl::StatusOr<PromptRouters> MakePromptRouters(const Checkpoint& base,
                                                const std::vector<std::string>& names,
                                                const UpcycleOptions& options);

}  // namespace peerage::transform
