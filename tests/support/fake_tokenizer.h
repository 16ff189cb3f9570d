#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage {

// A vocabulary of 32: the letters and the space, the two bytes of "é", and three special tokens.
//
// Threads: immutable; safe from many.
class FakeTokenizer final : public Tokenizer {
 public:
  static constexpr int kVocabSize = 32;
  static constexpr TokenId kEos = 0;
  static constexpr TokenId kSpace = 27;
  static constexpr TokenId kFirstHalf = 28;   // of "é"
  static constexpr TokenId kSecondHalf = 29;  // of "é"
  static constexpr TokenId kBos = 30;
  static constexpr TokenId kUserTurn = 31;

  // The token of a letter from 'a' to 'z'.
  static constexpr TokenId Letter(char letter) { return static_cast<TokenId>(letter - 'a' + 1); }

  FakeTokenizer();

  // INVALID_ARGUMENT for bytes that no token has. Special tokens are never recognised.
  absl::StatusOr<std::vector<TokenId>> EncodeUpTo(size_t limit, absl::string_view text,
                                                  SpecialTokens special) const override;
  absl::StatusOr<std::vector<TokenId>> EncodeChatUpTo(
      size_t limit, absl::Span<const ChatTurn> turns) const override;
  absl::string_view Bytes(TokenId id) const override { return bytes_[id]; }
  bool IsSpecial(TokenId id) const override { return id == kEos || id >= kBos; }
  int vocab_size() const override { return kVocabSize; }
  std::optional<TokenId> bos_id() const override { return kBos; }
  absl::Span<const TokenId> eos_ids() const override { return eos_ids_; }
  bool add_bos() const override { return false; }
  absl::string_view chat_template_name() const override { return "fake"; }
  absl::Status chat_status() const override { return absl::OkStatus(); }
  const TokenOrigins& origins() const override { return origins_; }

 private:
  std::vector<std::string> bytes_;  // [kVocabSize]
  const std::vector<TokenId> eos_ids_ = {kEos};
  const TokenOrigins origins_ = {.bos = {{kBos, "fake"}}, .eos = {{kEos, "fake"}}, .add_bos = ""};
};

}  // namespace peerage
