#include "model/tokenizer/tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/tokenizer/bpe_tokenizer.h"
#include "model/tokenizer/tokenizer_definition.h"

namespace peerage {
namespace {

constexpr int kMaxVocabSize = 1 << 24;
constexpr size_t kLongestMessage = 500;

// The same error in one short line, whatever the names that a file put into it.
absl::Status InOneLine(const absl::Status& error) {
  constexpr absl::string_view kHexDigits = "0123456789abcdef";
  std::string line;
  for (const char c : error.message().substr(0, kLongestMessage)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      line += c;
    } else {
      line += {'\\', 'x', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
    }
  }
  if (error.message().size() > kLongestMessage) line += "...";
  return absl::Status(error.code(), line);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadChecked(const TokenizerSource& source) {
  if (source.vocab_size < 1 || source.vocab_size > kMaxVocabSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("vocabulary size ", source.vocab_size, " is outside 1 to ", kMaxVocabSize));
  }
  if (source.gguf.has_value() == source.hugging_face.has_value()) {
    return absl::InvalidArgumentError("a tokenizer comes from a GGUF file or from tokenizer.json");
  }
  if (source.gguf.has_value()) {
    ASSIGN_OR_RETURN(TokenizerDefinition definition, DefineFromGguf(source));
    return BpeTokenizer::Create(std::move(definition));
  }
  ASSIGN_OR_RETURN(TokenizerDefinition definition, DefineFromHuggingFace(source));
  return At("tokenizer.json", BpeTokenizer::Create(std::move(definition)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const TokenizerSource& source) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = LoadChecked(source);
  if (!tokenizer.ok()) return InOneLine(tokenizer.status());
  return tokenizer;
}

}  // namespace peerage
