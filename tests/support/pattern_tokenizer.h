#pragma once

#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage {

// Bytes for the ids of any vocabulary: letters, words, halves and quarters of characters, and a few
// special tokens. It writes text, and reads none.
//
// Threads: immutable; safe from many.
class PatternTokenizer final : public Tokenizer {
 public:
  explicit PatternTokenizer(int vocab_size) : vocab_size_(vocab_size) {}

  absl::StatusOr<std::vector<TokenId>> EncodeUpTo(size_t, absl::string_view,
                                                  SpecialTokens) const override {
    return absl::UnimplementedError("a pattern reads no text");
  }
  absl::StatusOr<std::vector<TokenId>> EncodeChatUpTo(size_t,
                                                      absl::Span<const ChatTurn>) const override {
    return absl::UnimplementedError("a pattern reads no text");
  }
  absl::string_view Bytes(TokenId id) const override { return kBytes[id % std::size(kBytes)]; }
  bool IsSpecial(TokenId id) const override { return id % 31 == 0; }
  int vocab_size() const override { return vocab_size_; }
  std::optional<TokenId> bos_id() const override { return std::nullopt; }
  absl::Span<const TokenId> eos_ids() const override { return {}; }
  bool add_bos() const override { return false; }
  absl::string_view chat_template_name() const override { return ""; }
  absl::Status chat_status() const override { return absl::UnimplementedError("no chats"); }
  const TokenOrigins& origins() const override { return origins_; }

 private:
  static constexpr absl::string_view kBytes[] = {
      "a", "b", "c", "ab", "bc", "a b", " ", "\xC3", "\xA9", "\xF0\x9F", "\x98\x80", "ca", "\n"};

  const int vocab_size_;
  const TokenOrigins origins_ = {};
};

}  // namespace peerage
