#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// What a name in tokenizer.ggml.pre stands for.
struct GgufPreTokenizer {
  nlohmann::json json;         // as the pre_tokenizer of a tokenizer.json
  bool ignore_merges = false;  // a word that is a token is not taken apart
  // Whether a text gets the BOS in a file that does not say so (llama.cpp's src/llama-vocab.cpp):
  // of the names that are known, only llama-bpe gives one.
  bool add_bos = false;
};

// A name that is not known is UNIMPLEMENTED.
absl::StatusOr<GgufPreTokenizer> FindGgufPreTokenizer(absl::string_view name);

}  // namespace peerage
