#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace peerage {

// The files of a GPT-2 style directory without tokenizer.json, as text; absent files are empty.
struct Gpt2Files {
  std::string vocab_json;               // required: {"token": id, ...}
  std::string merges_txt;               // required: "left right" a line, the most frequent first
  std::string added_tokens_json;        // {"token": id, ...}
  std::string special_tokens_map_json;  // which tokens are special, by the names of their uses
  std::string tokenizer_config_json;    // the same, and added_tokens_decoder, add_prefix_space
};

// The tokenizer.json that Hugging Face's GPT2TokenizerFast makes of these files: byte-level BPE
// whose special tokens are those that a file names, and "<|endoftext|>". UNIMPLEMENTED for files of
// another tokenizer_class, which cut texts in other ways. Errors name the file.
absl::StatusOr<std::string> TokenizerJsonOf(const Gpt2Files& files);

}  // namespace peerage
