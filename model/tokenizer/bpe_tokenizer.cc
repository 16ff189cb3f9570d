#include "model/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/chat_template.h"
#include "model/tokenizer/vocabulary.h"

namespace peerage {
namespace {

constexpr absl::string_view kSystem = "system";
constexpr absl::string_view kAssistant = "assistant";
constexpr std::array<absl::string_view, 3> kRoles = {kSystem, "user", kAssistant};

absl::Status CheckBos(const TokenizerDefinition& definition) {
  if (!definition.add_bos || definition.origins.bos_id().has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError("the tokenizer adds a BOS but does not say which token it is");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> BpeTokenizer::Create(TokenizerDefinition definition) {
  RETURN_IF_ERROR(CheckBos(definition));
  ASSIGN_OR_RETURN(const Vocabulary vocabulary, Vocabulary::Create(definition));
  ASSIGN_OR_RETURN(ByteBpe::Options bpe, vocabulary.MakeBpe(definition));
  absl::StatusOr<Chat> chat = FindChat(definition);
  TokenOrigins origins = definition.origins;
  if (chat.ok()) origins.eos.push_back({chat->turn_end, "the chat template's end of a turn"});
  return std::unique_ptr<Tokenizer>(new BpeTokenizer(Parts{
      .bpe = ByteBpe(std::move(bpe)),
      .added_tokens = AddedTokens(definition.added_tokens),
      .pre_tokenizer = definition.pre_tokenizer,
      .bytes = vocabulary.Bytes(),
      .special = vocabulary.Special(),
      .eos_ids = origins.eos_ids(),
      .origins = std::move(origins),
      .add_bos = definition.add_bos,
      .chat = std::move(chat),
  }));
}

// A template is of use only where both of its tokens are found in text exactly as written, and
// nothing but recognising them yields them: else a message could end its own turn.
absl::StatusOr<BpeTokenizer::Chat> BpeTokenizer::FindChat(const TokenizerDefinition& definition) {
  if (definition.chat_template.empty()) {
    return absl::FailedPreconditionError("the model has no chat template");
  }
  const absl::StatusOr<ChatMl> chat_ml = RecogniseChatMl(definition.chat_template);
  if (!chat_ml.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the model's chat template is not understood, as it is not ChatML: ",
                     chat_ml.status().message()));
  }
  const auto find = [&](absl::string_view content) -> std::optional<TokenId> {
    for (const AddedToken& token : definition.added_tokens) {
      if (token.content != content || definition.unknown == content) continue;
      if (token.special && !token.single_word && !token.lstrip && !token.rstrip) return token.id;
    }
    return std::nullopt;
  };
  const std::optional<TokenId> start = find(ChatMl::kTurnStart);
  const std::optional<TokenId> end = find(ChatMl::kTurnEnd);
  if (!start.has_value() || !end.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the model's chat template is ChatML, but ", ChatMl::kTurnStart, " and ",
                     ChatMl::kTurnEnd, " are not both special tokens of its tokenizer"));
  }
  return Chat{chat_ml->default_system, *start, *end};
}

absl::StatusOr<std::vector<TokenId>> BpeTokenizer::EncodeUpTo(size_t limit, absl::string_view text,
                                                              SpecialTokens special) const {
  BpeEncoder encoder(parts_.bpe);
  RETURN_IF_ERROR(AppendText(text, special, limit, encoder));
  return encoder.Take();
}

absl::Status BpeTokenizer::AppendText(absl::string_view text, SpecialTokens special, size_t limit,
                                      BpeEncoder& encoder) const {
  if (text.size() > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError("the text is longer than 2 GiB");
  }
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError("the text is not valid UTF-8");
  absl::Status status;
  const auto append_word = [&](absl::string_view word) {
    encoder.Append(word);
    return encoder.size() <= limit;
  };
  parts_.added_tokens.ForEachSegment(text, special, [&](const TextSegment& segment) {
    if (segment.token.has_value()) {
      encoder.Append(*segment.token);
    } else {
      status = parts_.pre_tokenizer.ForEachWord(segment.text, append_word);
    }
    return status.ok() && encoder.size() <= limit;
  });
  return status;
}

absl::StatusOr<std::vector<TokenId>> BpeTokenizer::EncodeChatUpTo(
    size_t limit, absl::Span<const ChatTurn> turns) const {
  RETURN_IF_ERROR(parts_.chat.status());
  if (turns.empty()) return absl::InvalidArgumentError("a conversation needs a message");

  BpeEncoder encoder(parts_.bpe);
  if (parts_.chat->default_system.has_value() && turns[0].role != kSystem) {
    const ChatTurn system = {std::string(kSystem), *parts_.chat->default_system};
    RETURN_IF_ERROR(AppendTurn(system, limit, encoder));
  }
  for (const ChatTurn& turn : turns) {
    if (encoder.size() > limit) return encoder.Take();
    if (std::find(kRoles.begin(), kRoles.end(), turn.role) == kRoles.end()) {
      return absl::InvalidArgumentError("a message's role is system, user or assistant");
    }
    RETURN_IF_ERROR(AppendTurn(turn, limit, encoder));
  }
  encoder.Append(parts_.chat->turn_start);
  RETURN_IF_ERROR(
      AppendText(absl::StrCat(kAssistant, "\n"), SpecialTokens::kAsText, limit, encoder));
  return encoder.Take();
}

absl::Status BpeTokenizer::AppendTurn(const ChatTurn& turn, size_t limit,
                                      BpeEncoder& encoder) const {
  encoder.Append(parts_.chat->turn_start);
  // Role and content are one stretch of text, as in the rendered template.
  RETURN_IF_ERROR(AppendText(absl::StrCat(turn.role, "\n", turn.content), SpecialTokens::kAsText,
                             limit, encoder));
  encoder.Append(parts_.chat->turn_end);
  return AppendText("\n", SpecialTokens::kAsText, limit, encoder);
}

absl::string_view BpeTokenizer::chat_template_name() const {
  return parts_.chat.ok() ? ChatMl::kName : absl::string_view();
}

}  // namespace peerage
