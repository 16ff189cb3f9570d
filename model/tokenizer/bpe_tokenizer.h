#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/byte_bpe.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_definition.h"

namespace peerage {

// A text goes through added tokens, then the pre-tokenizer, then byte-pair merges.
class BpeTokenizer : public Tokenizer {
 public:
  // INVALID_ARGUMENT names the token, merge or id that contradicts the rest.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(TokenizerDefinition definition);

  absl::StatusOr<std::vector<TokenId>> EncodeUpTo(size_t limit, absl::string_view text,
                                                  SpecialTokens special) const override;
  absl::StatusOr<std::vector<TokenId>> EncodeChatUpTo(
      size_t limit, absl::Span<const ChatTurn> turns) const override;

  absl::string_view Bytes(TokenId id) const override { return parts_.bytes[id]; }
  bool IsSpecial(TokenId id) const override { return parts_.special[id]; }
  int vocab_size() const override { return static_cast<int>(parts_.bytes.size()); }
  std::optional<TokenId> bos_id() const override { return parts_.origins.bos_id(); }
  absl::Span<const TokenId> eos_ids() const override { return parts_.eos_ids; }
  bool add_bos() const override { return parts_.add_bos; }
  absl::string_view chat_template_name() const override;
  absl::Status chat_status() const override { return parts_.chat.status(); }
  const TokenOrigins& origins() const override { return parts_.origins; }

 private:
  // ChatML with the ids of its two tokens.
  struct Chat {
    std::optional<std::string> default_system;
    TokenId turn_start;
    TokenId turn_end;
  };
  struct Parts {
    ByteBpe bpe;
    AddedTokens added_tokens;
    PreTokenizer pre_tokenizer;
    std::vector<std::string> bytes;  // [vocab_size]
    std::vector<bool> special;       // [vocab_size]
    std::vector<TokenId> eos_ids;
    TokenOrigins origins;
    bool add_bos;
    absl::StatusOr<Chat> chat;  // an error says why there is none
  };

  explicit BpeTokenizer(Parts parts) : parts_(std::move(parts)) {}

  static absl::StatusOr<Chat> FindChat(const TokenizerDefinition& definition);
  // Both append nothing that begins behind the `limit` tokens that the encoder may have.
  absl::Status AppendText(absl::string_view text, SpecialTokens special, size_t limit,
                          BpeEncoder& encoder) const;
  absl::Status AppendTurn(const ChatTurn& turn, size_t limit, BpeEncoder& encoder) const;

  const Parts parts_;
};

}  // namespace peerage
