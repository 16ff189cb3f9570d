#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// What a name in tokenizer.ggml.pre stands for.
struct GgufPreTokenizer {
  nlohmann::json json;         // as the pre_tokenizer of a tokenizer.json
  bool ignore_merges = false;  // a word that is a token is not taken apart
};

// A name that is not known is UNIMPLEMENTED.
absl::StatusOr<GgufPreTokenizer> FindGgufPreTokenizer(absl::string_view name);

}  // namespace peerage
