#include "model/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

struct Part {
  TextRange range;
  bool is_match;
};

// The whole of `text` as alternating matches and what lies between them.
absl::StatusOr<std::vector<Part>> FindParts(PatternMatcher& matcher, absl::string_view text,
                                            bool invert) {
  ASSIGN_OR_RETURN(const std::vector<TextRange> matches, matcher.FindAll(text));
  std::vector<Part> parts;
  size_t end = 0;
  for (const TextRange& match : matches) {
    if (end < match.begin) parts.push_back({{end, match.begin}, invert});
    parts.push_back({match, !invert});
    end = match.end;
  }
  if (end < text.size()) parts.push_back({{end, text.size()}, invert});
  return parts;
}

// Joins a part to the one before it where `joins` says so of the two "is match" flags.
template <typename Joins>
std::vector<Part> JoinNeighbours(const std::vector<Part>& parts, Joins joins) {
  std::vector<Part> joined;
  bool previous = false;
  for (const Part& part : parts) {
    if (!joined.empty() && joins(previous, part.is_match)) {
      TextRange& last = joined.back().range;
      last = {std::min(last.begin, part.range.begin), std::max(last.end, part.range.end)};
    } else {
      joined.push_back(part);
    }
    previous = part.is_match;
  }
  return joined;
}

std::vector<Part> Apply(SplitBehavior behavior, std::vector<Part> parts) {
  const auto first_match = [](bool previous, bool current) { return current && !previous; };
  switch (behavior) {
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kRemoved:
      parts.erase(
          std::remove_if(parts.begin(), parts.end(), [](const Part& p) { return p.is_match; }),
          parts.end());
      break;
    case SplitBehavior::kMergedWithPrevious:
      return JoinNeighbours(parts, first_match);
    case SplitBehavior::kMergedWithNext:
      std::reverse(parts.begin(), parts.end());
      parts = JoinNeighbours(parts, first_match);
      std::reverse(parts.begin(), parts.end());
      break;
    case SplitBehavior::kContiguous:
      return JoinNeighbours(parts, std::equal_to<bool>());
  }
  return parts;
}

void AddPrefixSpaces(PreTokenizedText& text) {
  for (absl::string_view& word : text.words) {
    if (absl::StartsWith(word, " ")) continue;
    word = text.prefixed.emplace_back(" " + std::string(word));
  }
}

absl::StatusOr<std::vector<absl::string_view>> SplitWords(
    const PreTokenizerStep& step, const std::vector<absl::string_view>& words) {
  PatternMatcher matcher(*step.pattern);
  std::vector<absl::string_view> pieces;
  for (absl::string_view word : words) {
    ASSIGN_OR_RETURN(std::vector<Part> parts, FindParts(matcher, word, step.invert));
    for (const Part& part : Apply(step.behavior, std::move(parts))) {
      const auto [begin, end] = part.range;
      if (begin < end) pieces.push_back(word.substr(begin, end - begin));
    }
  }
  return pieces;
}

// A pattern of our own always compiles.
std::shared_ptr<const Pattern> Compiled(absl::string_view expression) {
  return std::make_shared<const Pattern>(*Pattern::Compile(expression));
}

}  // namespace

absl::StatusOr<PreTokenizedText> PreTokenizer::Split(absl::string_view text) const {
  PreTokenizedText result;
  if (!text.empty()) result.words.push_back(text);
  for (const PreTokenizerStep& step : steps_) {
    if (step.add_prefix_space) AddPrefixSpaces(result);
    if (step.pattern == nullptr) continue;
    ASSIGN_OR_RETURN(result.words, SplitWords(step, result.words));
  }
  return result;
}

PreTokenizerStep ByteLevelStep(bool add_prefix_space, bool use_regex) {
  PreTokenizerStep step;
  step.add_prefix_space = add_prefix_space;
  if (use_regex) {
    step.pattern =
        Compiled(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
  }
  return step;
}

PreTokenizerStep DigitsStep(bool individual) {
  return {.pattern = Compiled(R"(\p{N})"),
          .behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous};
}

}  // namespace peerage
