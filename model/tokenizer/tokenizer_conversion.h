#pragma once

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// The tokenizer of a GGUF file as the files of a Hugging Face directory, which both this project
// and Hugging Face `tokenizers` read to the same ids. Fields that are not understood are refused.
// Precondition: source.gguf is set.
absl::StatusOr<HuggingFaceTokenizer> HuggingFaceFilesOf(const TokenizerSource& source);

// The tokenizer of a Hugging Face directory as the fields of a GGUF file. What these cannot say (a
// pre-tokenizer without a name there, tokens that take white space along) is refused by name.
// Precondition: source.hugging_face is set.
absl::StatusOr<GgufTokenizer> GgufFieldsOf(const TokenizerSource& source);

}  // namespace peerage
