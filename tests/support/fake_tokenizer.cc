#include "tests/support/fake_tokenizer.h"

#include <algorithm>

#include "base/status_macros.h"

namespace peerage {

FakeTokenizer::FakeTokenizer() : bytes_(kVocabSize) {
  for (char letter = 'a'; letter <= 'z'; ++letter) bytes_[Letter(letter)] = letter;
  bytes_[kSpace] = " ";
  bytes_[kFirstHalf] = "\xC3";
  bytes_[kSecondHalf] = "\xA9";
  bytes_[kEos] = "<eos>";
  bytes_[kBos] = "<bos>";
  bytes_[kUserTurn] = "<user>";
}

absl::StatusOr<std::vector<TokenId>> FakeTokenizer::EncodeUpTo(size_t limit, absl::string_view text,
                                                               SpecialTokens) const {
  std::vector<TokenId> tokens;
  for (char byte : text) {
    if (tokens.size() > limit) break;
    const auto token = std::find(bytes_.begin(), bytes_.end(), std::string(1, byte));
    if (token == bytes_.end()) return absl::InvalidArgumentError("no token for this text");
    tokens.push_back(static_cast<TokenId>(token - bytes_.begin()));
  }
  return tokens;
}

absl::StatusOr<std::vector<TokenId>> FakeTokenizer::EncodeChatUpTo(
    size_t limit, absl::Span<const ChatTurn> turns) const {
  std::vector<TokenId> tokens;
  for (const ChatTurn& turn : turns) {
    if (tokens.size() > limit) return tokens;
    ASSIGN_OR_RETURN(const std::vector<TokenId> content,
                     Encode(turn.content, SpecialTokens::kAsText));
    tokens.push_back(kUserTurn);
    tokens.insert(tokens.end(), content.begin(), content.end());
  }
  tokens.push_back(kUserTurn);
  return tokens;
}

}  // namespace peerage
