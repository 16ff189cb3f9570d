#pragma once

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// The tokenizer of a Hugging Face directory as the fields of a GGUF file. What these cannot say (a
// pre-tokenizer without a name there, tokens that take white space along) is refused by name.
// Precondition: source.hugging_face is set.
absl::StatusOr<GgufTokenizer> GgufFieldsOf(const TokenizerSource& source);

}  // namespace peerage
