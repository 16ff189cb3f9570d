#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/token.h"

namespace peerage {

// tokenizer.ggml.token_type; 6 (byte) belongs to SentencePiece vocabularies.
enum GgufTokenType {
  kNormalToken = 1,
  kUnknownToken = 2,
  kControlToken = 3,
  kUserDefinedToken = 4,
  kUnusedToken = 5
};

// The tokenizer fields of a GGUF file, as stored.
struct GgufTokenizer {
  std::string model;  // "gpt2"
  std::string pre;    // "smollm", ...
  std::vector<std::string> tokens;
  std::vector<int32_t> token_types;  // GgufTokenType
  std::vector<std::string> merges;
  std::optional<TokenId> bos_id;
  std::optional<TokenId> eos_id;
  std::optional<TokenId> eot_id;  // the end of a turn
  std::optional<TokenId> eom_id;  // the end of a message to a tool
  std::optional<TokenId> unknown_id;
  std::optional<TokenId> padding_id;
  std::optional<bool> add_bos;
  std::optional<std::string> chat_template;
};

// The tokenizer files of a Hugging Face directory, as text; absent files are empty.
struct HuggingFaceTokenizer {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
  std::string chat_template;  // chat_template.jinja
  std::string generation_config_json;
};

// What a checkpoint says about its tokenizer: exactly one of the two is set.
struct TokenizerSource {
  std::optional<GgufTokenizer> gguf;
  std::optional<HuggingFaceTokenizer> hugging_face;
  // What config.json names, beside the tokenizer's files.
  std::optional<TokenId> config_bos_id;
  std::vector<TokenId> config_eos_ids;
  int vocab_size = 0;  // rows of the embedding; the tokenizer may know fewer tokens
};

}  // namespace peerage
