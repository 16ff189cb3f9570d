#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transform/upcycle/layer_inputs.h"
#include "model/transform/upcycle/upcycle_options.h"

namespace peerage::transform {

// The prompts of all experts.
struct ExpertPrompts {
  std::vector<TokenSequence> sequences;
  std::vector<size_t> tokens;  // by expert; the first belong to expert 0, and so on
};

// Reads the experts' files among options.prompts. Every line that is not empty is a prompt; all
// together have at most 16,384 tokens. Errors name the file.
// Precondition: every expert has a file (UpcycleOptions::Validate).
absl::StatusOr<ExpertPrompts> ReadExpertPrompts(const Tokenizer& tokenizer,
                                                const UpcycleOptions& options);

}  // namespace peerage::transform
