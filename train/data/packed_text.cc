#include "train/data/packed_text.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "train/data/documents.h"

namespace peerage::train {

absl::StatusOr<PackedText> PackedText::Read(const Tokenizer& tokenizer,
                                            const std::vector<std::string>& paths,
                                            const std::string& text_key, int sequence_length) {
  std::vector<TokenId> tokens;
  const auto take = [&](absl::string_view text) {
    ASSIGN_OR_RETURN(const std::vector<TokenId> encoded,
                     tokenizer.Encode(text, SpecialTokens::kAsText));
    if (tokenizer.add_bos() && tokenizer.bos_id().has_value())
      tokens.push_back(*tokenizer.bos_id());
    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
    if (!tokenizer.eos_ids().empty()) tokens.push_back(tokenizer.eos_ids().front());
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(const std::vector<std::string> files, TextFiles(paths));
  for (const std::string& file : files) RETURN_IF_ERROR(ReadDocuments(file, text_key, take));
  if (static_cast<int64_t>(tokens.size()) <= sequence_length) {
    return absl::InvalidArgumentError(absl::StrCat(absl::StrJoin(paths, ", "), ": ", tokens.size(),
                                                   " tokens of text; one sequence needs ",
                                                   sequence_length + 1));
  }
  return PackedText(std::move(tokens), sequence_length);
}

}  // namespace peerage::train
