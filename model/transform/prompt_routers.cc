#include "model/transform/prompt_routers.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/random_access_file.h"
#include "model/error_text.h"
#include "model/status_macros.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transform/condition_number.h"
#include "model/transform/dense_forward.h"

namespace peerage::transform {
namespace {

constexpr uint64_t kMaxPromptBytes = uint64_t{1} << 20;
constexpr size_t kMaxPromptTokens = 16'384;  // of all experts together
constexpr double kIllConditioned = 5;        // mergekit's threshold

// The prompts of all experts.
struct Prompts {
  std::vector<TokenSequence> sequences;
  std::vector<size_t> tokens;  // by expert; the first belong to expert 0, and so on
};

absl::StatusOr<TokenSequence> EncodePrompt(const Tokenizer& tokenizer, absl::string_view text) {
  ASSIGN_OR_RETURN(
      TokenSequence tokens,
      tokenizer.Encode(std::string_view(text.data(), text.size()), SpecialTokens::kAsText));
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

absl::StatusOr<std::string> FileOf(const std::string& expert, const UpcycleOptions& options) {
  for (const NamedPath& prompts : options.prompts) {
    if (prompts.name == expert) return prompts.path;
  }
  return absl::InvalidArgumentError(absl::StrCat("expert ", Quoted(expert), " has no prompts"));
}

absl::Status CheckNames(const std::vector<std::string>& names, const UpcycleOptions& options) {
  for (const NamedPath& prompts : options.prompts) {
    if (std::find(names.begin(), names.end(), prompts.name) != names.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("prompts of ", Quoted(prompts.name), ": there is no such expert"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Prompts> ReadAllPrompts(const Checkpoint& base,
                                       const std::vector<std::string>& names,
                                       const UpcycleOptions& options) {
  RETURN_IF_ERROR(CheckNames(names, options));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(base.tokenizer()));
  Prompts prompts;
  size_t total = 0;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::string path, FileOf(name, options));
    ASSIGN_OR_RETURN(const size_t tokens, ReadPrompts(*tokenizer, path, prompts.sequences));
    prompts.tokens.push_back(tokens);
    total += tokens;
    if (total > kMaxPromptTokens) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": the prompts have more than ",
                                                     kMaxPromptTokens, " tokens together"));
    }
  }
  return prompts;
}

// The mean of the states of each expert's tokens, at length 1.
std::vector<float> MeanRows(const std::vector<float>& states, const Prompts& prompts,
                            size_t width) {
  std::vector<float> rows;
  const float* state = states.data();
  for (const size_t tokens : prompts.tokens) {
    std::vector<double> sum(width);
    for (size_t t = 0; t < tokens; ++t, state += width) {
      for (size_t i = 0; i < width; ++i) sum[i] += state[i];
    }
    double squares = 0;
    for (const double value : sum) squares += value * value;
    const double length = std::max(std::sqrt(squares), 1e-30);  // a sum of zero stays zero
    for (const double value : sum) rows.push_back(static_cast<float>(value / length));
  }
  return rows;
}

// One line about all routers that can hardly tell the experts apart.
std::vector<std::string> WarningsOf(const std::map<std::string, std::vector<float>>& routers,
                                    int experts) {
  int count = 0;
  double worst = 0;
  std::string where;
  for (const auto& [name, rows] : routers) {
    const double condition = ConditionNumber(rows, experts);
    if (condition > kIllConditioned) ++count;
    if (condition > worst) {
      worst = condition;
      where = name;
    }
  }
  if (count == 0) return {};
  return {absl::StrFormat(
      "%d of %d routers are ill-conditioned, their experts' prompts too alike: the condition "
      "number of %s is %.1f, above %.0f",
      count, routers.size(), where, worst, kIllConditioned)};
}

}  // namespace

absl::StatusOr<PromptRouters> MakePromptRouters(const Checkpoint& base,
                                                const std::vector<std::string>& names,
                                                const UpcycleOptions& options) {
  ASSIGN_OR_RETURN(const Prompts prompts, ReadAllPrompts(base, names, options));
  ASSIGN_OR_RETURN(DenseForward forward, DenseForward::Start(base, prompts.sequences));
  PromptRouters routers;
  const ModelConfig& config = base.config();
  for (size_t layer = 0; layer < config.layers.size(); ++layer) {
    ASSIGN_OR_RETURN(const DenseForward::LayerInputs inputs, forward.RunLayer());
    const std::string prefix = absl::StrCat("model.layers.", layer);
    routers.values[prefix + ".ffn.mixture.router.weight"] =
        MeanRows(inputs.ffn, prompts, config.hidden_size);
    if (!HasAttentionExperts(options.attention)) continue;
    routers.values[prefix + ".attention.router.weight"] =
        MeanRows(inputs.attention, prompts, config.hidden_size);
  }
  routers.warnings = WarningsOf(routers.values, static_cast<int>(names.size()));
  return routers;
}

}  // namespace peerage::transform
