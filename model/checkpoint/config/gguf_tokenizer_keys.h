#pragma once

#include "absl/status/statusor.h"
#include "model/checkpoint/container/gguf_metadata.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// The tokenizer fields of a GGUF file. Token ids are below the number of tokens, and tokens are at
// most vocab_size.
absl::StatusOr<GgufTokenizer> ReadGgufTokenizer(GgufMetadata metadata, int vocab_size);

}  // namespace peerage
