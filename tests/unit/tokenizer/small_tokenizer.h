#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// Ids 0 to 255 are the bytes, then follow "ab", "Ġa" and the special tokens of ChatML.
inline std::vector<std::string> SmallVocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(WrittenByte(byte));
  for (const char* token : {"ab", "Ġa", "<|im_start|>", "<|im_end|>", "<s>"}) {
    tokens.push_back(token);
  }
  return tokens;
}

inline constexpr int kAb = 256;
inline constexpr int kSpaceA = 257;
inline constexpr int kTurnStart = 258;
inline constexpr int kTurnEnd = 259;
inline constexpr int kBos = 260;
inline constexpr int kSmallVocabSize = 261;

// A template that is ChatML.
inline constexpr char kChatMl[] =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\\n' }}";

// "260 config.json", ...
inline std::vector<std::string> Places(const std::vector<TokenMention>& mentions) {
  std::vector<std::string> places;
  for (const TokenMention& mention : mentions) {
    places.push_back(absl::StrCat(mention.id, " ", mention.place));
  }
  return places;
}

// The tokenizer of these files; the test fails when there is none.
inline std::unique_ptr<Tokenizer> Load(const TokenizerSource& source) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(source);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

}  // namespace peerage
