#include "model/tokenizer/detokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/utf8.h"

namespace peerage {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

std::string Detokenizer::Append(TokenId token) {
  if (tokenizer_->IsSpecial(token) && !include_special_tokens_) return "";

  const std::string bytes = std::exchange(pending_, "") + std::string(tokenizer_->Bytes(token));
  std::string text;
  for (absl::string_view rest = bytes; !rest.empty();) {
    const Utf8Prefix prefix = ReadUtf8(rest);
    if (prefix.kind == Utf8Prefix::Kind::kUnfinished) {
      pending_ = std::string(rest);
      break;
    }
    const bool valid = prefix.kind == Utf8Prefix::Kind::kCodePoint;
    absl::StrAppend(&text, valid ? rest.substr(0, prefix.length) : kReplacement);
    rest.remove_prefix(prefix.length);
  }
  return text;
}

std::string Detokenizer::Flush() {
  return std::exchange(pending_, "").empty() ? "" : std::string(kReplacement);
}

std::string Detokenize(const Tokenizer& tokenizer, absl::Span<const TokenId> tokens,
                       bool include_special_tokens) {
  Detokenizer detokenizer(&tokenizer, include_special_tokens);
  std::string text;
  for (TokenId token : tokens) text += detokenizer.Append(token);
  return text + detokenizer.Flush();
}

}  // namespace peerage
