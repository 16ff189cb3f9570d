#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/token.h"
#include "model/tokenizer/token_origins.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// Whether special tokens written in a text become their ids or stay ordinary text.
enum class SpecialTokens { kRecognise, kAsText };

struct ChatTurn {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// Byte-level BPE and the model's chat format.
//
// Threads: immutable after Load; safe from many threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Builds the tokenizer that a checkpoint describes. What is not implemented is refused by name.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const TokenizerSource& source);

  // Precondition: none; invalid UTF-8 and texts that hit the pattern matcher's limit are
  // INVALID_ARGUMENT. Never adds BOS. Cost: n log n, also for one long word.
  absl::StatusOr<std::vector<TokenId>> Encode(absl::string_view text, SpecialTokens special) const {
    return EncodeUpTo(kNoLimit, text, special);
  }

  // Renders a conversation, ending with the assistant's turn opened. Every turn has a token.
  // Special tokens in a message's content stay text. FAILED_PRECONDITION when the model has no chat
  // template that is understood.
  absl::StatusOr<std::vector<TokenId>> EncodeChat(absl::Span<const ChatTurn> turns) const {
    return EncodeChatUpTo(kNoLimit, turns);
  }

  // The same for who has no use for more than `limit` tokens: once there are more, the rest is not
  // looked at, nor is what would be wrong with it. What comes back is then a beginning of more than
  // `limit` tokens.
  static constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
  virtual absl::StatusOr<std::vector<TokenId>> EncodeUpTo(size_t limit, absl::string_view text,
                                                          SpecialTokens special) const = 0;
  virtual absl::StatusOr<std::vector<TokenId>> EncodeChatUpTo(
      size_t limit, absl::Span<const ChatTurn> turns) const = 0;

  // The bytes that a token stands for; a special token's are its written form. Empty for ids that
  // the model has but the tokenizer does not know. Precondition: id < vocab_size().
  virtual absl::string_view Bytes(TokenId id) const = 0;
  virtual bool IsSpecial(TokenId id) const = 0;

  virtual int vocab_size() const = 0;  // the model's
  virtual std::optional<TokenId> bos_id() const = 0;
  virtual absl::Span<const TokenId> eos_ids() const = 0;     // any of them ends a generation
  virtual bool add_bos() const = 0;                          // to text, unless the caller says
  virtual absl::string_view chat_template_name() const = 0;  // "chatml"; empty: none understood
  virtual absl::Status chat_status() const = 0;              // why EncodeChat refuses, if it does
  // Which of the model's files say what begins and ends a text.
  virtual const TokenOrigins& origins() const = 0;
};

}  // namespace peerage
