#include "server/rpc/request/prompt.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/rpc/request/field_errors.h"

namespace peerage {
namespace {

using Tokens = std::vector<TokenId>;

absl::StatusOr<Tokens> EncodeText(const std::string& text, const Tokenizer& tokenizer,
                                  absl::string_view path, size_t limit) {
  absl::StatusOr<Tokens> tokens = tokenizer.EncodeUpTo(limit, text, SpecialTokens::kRecognise);
  if (!absl::IsInvalidArgument(tokens.status())) return tokens;
  return FieldError(absl::StrCat(path, ".text"), tokens.status().message());
}

absl::StatusOr<Tokens> EncodeTurns(const v1::Chat& chat, const Tokenizer& tokenizer,
                                   absl::string_view path, size_t limit) {
  std::vector<ChatTurn> turns;
  for (const v1::ChatMessage& message : chat.messages()) {
    if (turns.size() > limit) break;  // each has a token
    turns.push_back({message.role(), message.content()});
  }
  absl::StatusOr<Tokens> tokens = tokenizer.EncodeChatUpTo(limit, turns);
  if (!absl::IsInvalidArgument(tokens.status())) return tokens;
  return FieldError(absl::StrCat(path, ".chat"), tokens.status().message());
}

absl::StatusOr<Tokens> EncodeInput(const v1::Prompt& prompt, const Tokenizer& tokenizer,
                                   absl::string_view path, size_t limit) {
  switch (prompt.input_case()) {
    case v1::Prompt::kText:
      return EncodeText(prompt.text(), tokenizer, path, limit);
    case v1::Prompt::kTokenIds:
      return Tokens(prompt.token_ids().ids().begin(), prompt.token_ids().ids().end());
    case v1::Prompt::kChat:
      return EncodeTurns(prompt.chat(), tokenizer, path, limit);
    case v1::Prompt::INPUT_NOT_SET:
      break;
  }
  return Tokens();
}

// Precondition: the tokenizer has a BOS id.
void PrependBos(const Tokenizer& tokenizer, Tokens& tokens) {
  tokens.insert(tokens.begin(), *tokenizer.bos_id());
}

bool WantsBos(const v1::Prompt& prompt, const Tokenizer& tokenizer) {
  if (prompt.has_add_bos()) return prompt.add_bos();
  return prompt.has_text() && tokenizer.add_bos() && tokenizer.bos_id().has_value();
}

}  // namespace

absl::StatusOr<Tokens> TokenizePrompt(const v1::Prompt& prompt, const Tokenizer& tokenizer,
                                      absl::string_view path, size_t limit) {
  ASSIGN_OR_RETURN(Tokens tokens, EncodeInput(prompt, tokenizer, path, limit));
  if (WantsBos(prompt, tokenizer)) PrependBos(tokenizer, tokens);
  return tokens;
}

absl::StatusOr<Tokens> EncodePrompt(const v1::Prompt& prompt, const Tokenizer& tokenizer,
                                    absl::string_view path, size_t limit) {
  ASSIGN_OR_RETURN(Tokens tokens, TokenizePrompt(prompt, tokenizer, path, limit));
  if (tokens.empty()) return FieldError(path, "must have at least one token");
  return tokens;
}

absl::StatusOr<Tokens> EncodeContext(const v1::Prompt& context, const Tokenizer& tokenizer,
                                     absl::string_view path, size_t limit) {
  ASSIGN_OR_RETURN(Tokens tokens, EncodeInput(context, tokenizer, path, limit));
  const bool lone_bos = tokens.empty() && !context.has_add_bos() && tokenizer.bos_id().has_value();
  if (lone_bos || WantsBos(context, tokenizer)) PrependBos(tokenizer, tokens);
  return tokens;
}

absl::StatusOr<Tokens> EncodeContinuation(const v1::Continuation& continuation,
                                          const Tokenizer& tokenizer, absl::string_view path,
                                          size_t limit) {
  if (continuation.has_token_ids()) {
    return Tokens(continuation.token_ids().ids().begin(), continuation.token_ids().ids().end());
  }
  ASSIGN_OR_RETURN(Tokens tokens, EncodeText(continuation.text(), tokenizer, path, limit));
  if (tokens.empty()) {
    return FieldError(absl::StrCat(path, ".text"), "must have at least one token");
  }
  return tokens;
}

}  // namespace peerage
