#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "model/tokenizer/tokenizer_definition.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// Finds what begins and ends texts in a Hugging Face directory, where four files may name it:
//
//   BOS   the post-processor (it is what Hugging Face puts before a text), else bos_token of
//         tokenizer_config.json, else bos_token_id of config.json, else of generation_config.json
//   EOS   every one of generation_config.json, config.json and tokenizer_config.json
//   whether a text gets the BOS   add_bos_token of tokenizer_config.json, else the post-processor
//
// Precondition: the definition has its tokens. Errors name the file.
absl::Status ReadSpecialTokens(const TokenizerSource& source, const nlohmann::json& tokenizer_file,
                               const nlohmann::json& tokenizer_config,
                               TokenizerDefinition& definition);

}  // namespace peerage
