#include "model/transform/upcycle/expert_prompts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage::transform {
namespace {

constexpr uint64_t kMaxPromptBytes = uint64_t{1} << 20;
constexpr size_t kMaxPromptTokens = 16'384;  // of all experts together

absl::StatusOr<TokenSequence> EncodePrompt(const Tokenizer& tokenizer, absl::string_view text) {
  ASSIGN_OR_RETURN(TokenSequence tokens, tokenizer.Encode(text, SpecialTokens::kAsText));
  if (tokenizer.add_bos() && tokenizer.bos_id().has_value()) {
    tokens.insert(tokens.begin(), *tokenizer.bos_id());
  }
  return tokens;
}

// Appends the prompts of one file; returns their tokens.
absl::StatusOr<size_t> ReadPrompts(const Tokenizer& tokenizer, const std::string& path,
                                   std::vector<TokenSequence>& sequences) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxPromptBytes));
  size_t count = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    absl::StatusOr<TokenSequence> tokens = EncodePrompt(tokenizer, line);
    if (!tokens.ok()) return At(path, tokens.status());
    if (tokens->empty()) continue;
    count += tokens->size();
    sequences.push_back(*std::move(tokens));
  }
  if (count == 0) return absl::InvalidArgumentError(absl::StrCat(path, ": holds no prompt"));
  return count;
}

const std::string& FileOf(const std::string& expert, const UpcycleOptions& options) {
  return std::find_if(options.prompts.begin(), options.prompts.end(),
                      [&](const NamedPath& prompts) { return prompts.name == expert; })
      ->path;
}

}  // namespace

absl::StatusOr<ExpertPrompts> ReadExpertPrompts(const Tokenizer& tokenizer,
                                                const UpcycleOptions& options) {
  ExpertPrompts prompts;
  size_t total = 0;
  for (const std::string& name : options.ExpertNames()) {
    const std::string& path = FileOf(name, options);
    ASSIGN_OR_RETURN(const size_t tokens, ReadPrompts(tokenizer, path, prompts.sequences));
    prompts.tokens.push_back(tokens);
    total += tokens;
    if (total > kMaxPromptTokens) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": the prompts have more than ",
                                                     kMaxPromptTokens, " tokens together"));
    }
  }
  return prompts;
}

}  // namespace peerage::transform
