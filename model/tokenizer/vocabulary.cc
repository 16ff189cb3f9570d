#include "model/tokenizer/vocabulary.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "model/tokenizer/byte_alphabet.h"

namespace peerage {

absl::StatusOr<Vocabulary> Vocabulary::Create(const TokenizerDefinition& definition) {
  Vocabulary vocabulary;
  const size_t size = definition.tokens.size();
  vocabulary.written_.resize(size);
  vocabulary.added_.resize(size);
  vocabulary.id_of_written_.reserve(size);
  for (size_t id = 0; id < size; ++id) {
    if (definition.tokens[id].empty()) continue;
    RETURN_IF_ERROR(vocabulary.AddToken(definition.tokens[id], static_cast<TokenId>(id)));
  }
  for (const AddedToken& token : definition.added_tokens) {
    RETURN_IF_ERROR(vocabulary.AddAddedToken(token));
  }
  return vocabulary;
}

absl::Status Vocabulary::AddToken(absl::string_view written, TokenId id) {
  const auto [entry, inserted] = id_of_written_.try_emplace(written, id);
  if (!inserted) {
    return absl::InvalidArgumentError(
        absl::StrCat("token \"", written, "\" has two ids, ", entry->second, " and ", id));
  }
  written_[id] = written;
  return absl::OkStatus();
}

absl::Status Vocabulary::AddAddedToken(const AddedToken& token) {
  if (token.content.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("added token ", token.id, " is empty"));
  }
  if (token.id >= written_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("added token \"", token.content, "\" has id ",
                                                   token.id, ", the model only ", written_.size(),
                                                   " tokens"));
  }
  if (added_[token.id] != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("two added tokens have id ", token.id));
  }
  if (written_[token.id].empty()) {
    RETURN_IF_ERROR(AddToken(token.content, token.id));
  } else if (written_[token.id] != token.content) {
    return absl::InvalidArgumentError(absl::StrCat("id ", token.id, " is added token \"",
                                                   token.content, "\" and token \"",
                                                   written_[token.id], "\""));
  }
  added_[token.id] = &token;
  return absl::OkStatus();
}

absl::StatusOr<TokenId> Vocabulary::OrdinaryId(absl::string_view written) const {
  const auto found = id_of_written_.find(written);
  if (found == id_of_written_.end()) {
    return absl::InvalidArgumentError(absl::StrCat("token \"", written, "\" does not exist"));
  }
  const AddedToken* added = added_[found->second];
  if (added != nullptr && added->special) {
    return absl::InvalidArgumentError(
        absl::StrCat("special token \"", written, "\" could be made from ordinary text"));
  }
  return found->second;
}

absl::StatusOr<ByteBpe::Options> Vocabulary::MakeBpe(const TokenizerDefinition& definition) const {
  ByteBpe::Options bpe;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string written = WrittenByte(static_cast<uint8_t>(byte));
    if (!id_of_written_.contains(written)) continue;
    ASSIGN_OR_RETURN(bpe.byte_tokens[byte], OrdinaryId(written));
  }

  bpe.merges.reserve(definition.merges.size());
  absl::flat_hash_set<std::pair<TokenId, TokenId>> pairs;
  pairs.reserve(definition.merges.size());
  for (const auto& [left, right] : definition.merges) {
    Merge merge;
    ASSIGN_OR_RETURN(merge.left, OrdinaryId(left));
    ASSIGN_OR_RETURN(merge.right, OrdinaryId(right));
    ASSIGN_OR_RETURN(merge.result, OrdinaryId(absl::StrCat(left, right)));
    if (!pairs.emplace(merge.left, merge.right).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("merge of \"", left, "\" and \"", right, "\" is listed twice"));
    }
    bpe.merges.push_back(merge);
  }

  if (definition.unknown.has_value()) {
    const auto found = id_of_written_.find(*definition.unknown);
    if (found == id_of_written_.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown token \"", *definition.unknown, "\" does not exist"));
    }
    bpe.unknown = found->second;
  }
  if (!definition.ignore_merges) return bpe;

  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].empty() || (added_[id] != nullptr && added_[id]->special)) continue;
    const std::optional<std::string> bytes = BytesOfWritten(definition.tokens[id]);
    if (bytes.has_value()) bpe.whole_words.emplace(*bytes, static_cast<TokenId>(id));
  }
  return bpe;
}

std::vector<std::string> Vocabulary::Bytes() const {
  std::vector<std::string> bytes(written_.size());
  for (size_t id = 0; id < written_.size(); ++id) {
    const std::string written(written_[id]);
    bytes[id] = added_[id] != nullptr ? written : BytesOfWritten(written).value_or(written);
  }
  return bytes;
}

std::vector<bool> Vocabulary::Special() const {
  std::vector<bool> special(added_.size());
  for (size_t id = 0; id < added_.size(); ++id) {
    special[id] = added_[id] != nullptr && added_[id]->special;
  }
  return special;
}

}  // namespace peerage
