#pragma once

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// The tokenizer of a GGUF file as the files of a Hugging Face directory, which both this project
// and Hugging Face `tokenizers` read to the same ids. Fields that are not understood are refused.
// Precondition: source.gguf is set.
absl::StatusOr<HuggingFaceTokenizer> HuggingFaceFilesOf(const TokenizerSource& source);

}  // namespace peerage
