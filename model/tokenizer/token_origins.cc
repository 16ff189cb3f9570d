#include "model/tokenizer/token_origins.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

absl::Status CheckMentions(absl::string_view what, const std::vector<TokenMention>& mentions,
                           size_t vocab_size) {
  for (const TokenMention& mention : mentions) {
    if (mention.id < vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrCat(mention.place, ": ", what, " token id ",
                                                   mention.id, " is not below the vocabulary size ",
                                                   vocab_size));
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<TokenId> TokenOrigins::bos_id() const {
  if (bos.empty()) return std::nullopt;
  return bos.front().id;
}

std::vector<TokenId> TokenOrigins::eos_ids() const {
  std::vector<TokenId> ids;
  for (const TokenMention& mention : eos) {
    if (std::find(ids.begin(), ids.end(), mention.id) == ids.end()) ids.push_back(mention.id);
  }
  return ids;
}

absl::Status TokenOrigins::Check(size_t vocab_size) const {
  RETURN_IF_ERROR(CheckMentions("bos", bos, vocab_size));
  return CheckMentions("eos", eos, vocab_size);
}

}  // namespace peerage
