#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/token.h"
#include "model/tokenizer/tokenizer.h"
#include "peerage/v1/inference.pb.h"

namespace peerage {

// A request's texts as tokens. `path` names the field for errors: a text that the tokenizer refuses
// is INVALID_ARGUMENT, chat without a template that is understood FAILED_PRECONDITION.
// Once there are more than `limit` tokens, the rest is not looked at: what comes back is then a
// beginning of more than `limit` tokens, of no use but to be refused.
// Precondition: Validate accepted the request.

// BOS is put in front as `add_bos` says or, unset, as the tokenizer's configuration says for text;
// ids and chats get none. An empty text may be no token at all.
absl::StatusOr<std::vector<TokenId>> TokenizePrompt(const v1::Prompt& prompt,
                                                    const Tokenizer& tokenizer,
                                                    absl::string_view path, size_t limit);

// The same to continue from: a prompt without any token is INVALID_ARGUMENT.
absl::StatusOr<std::vector<TokenId>> EncodePrompt(const v1::Prompt& prompt,
                                                  const Tokenizer& tokenizer,
                                                  absl::string_view path, size_t limit);

// A Score's context: as above, but it may be empty. With `add_bos` unset an empty context becomes
// the model's BOS, if it has one.
absl::StatusOr<std::vector<TokenId>> EncodeContext(const v1::Prompt& context,
                                                   const Tokenizer& tokenizer,
                                                   absl::string_view path, size_t limit);

// By itself: special tokens are recognised, nothing is put in front. Never empty.
absl::StatusOr<std::vector<TokenId>> EncodeContinuation(const v1::Continuation& continuation,
                                                        const Tokenizer& tokenizer,
                                                        absl::string_view path, size_t limit);

}  // namespace peerage
