#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/tokenizer/tokenizer.h"

namespace peerage::transform {

// What begins and ends texts, which of the model's files say so, and whether chats are understood.
std::string TokenizerText(const Tokenizer& tokenizer);

// One object: vocabulary_size, named_tokens, bos_token ({id, text, sources}, or null), add_bos,
// add_bos_source, eos_tokens (a list of the same), chat_template (null: none is understood) and
// chat_template_error.
nlohmann::ordered_json TokenizerJson(const Tokenizer& tokenizer);

}  // namespace peerage::transform
