#include "model/tokenizer/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/tokenizer/oniguruma_dialect.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> FindAll(absl::string_view expression, absl::string_view text) {
  const auto pattern = Pattern::Compile(expression);
  EXPECT_TRUE(pattern.ok()) << pattern.status();
  std::vector<std::string> found;
  const absl::Status status = pattern->ForEachMatch(text, [&](TextRange match) {
    found.emplace_back(text.substr(match.begin, match.end - match.begin));
    return true;
  });
  EXPECT_TRUE(status.ok()) << status;
  return found;
}

std::vector<std::string> Words(const PreTokenizer& pre_tokenizer, absl::string_view text) {
  std::vector<std::string> words;
  const absl::Status status = pre_tokenizer.ForEachWord(text, [&](absl::string_view word) {
    words.emplace_back(word);
    return true;
  });
  EXPECT_TRUE(status.ok()) << status;
  return words;
}

TEST(PatternTest, UsesUnicodeProperties) {
  EXPECT_THAT(FindAll(R"(\p{L}+)", "été 1 中文"), ElementsAre("été", "中文"));
  EXPECT_THAT(FindAll(R"(\p{N})", "7Ⅷ٤"), ElementsAre("7", "Ⅷ", "٤"));
  EXPECT_THAT(FindAll("(?i:'s)", "'S'\u017F"), ElementsAre("'S", "'\u017F"));
}

// PCRE2's own \s would have U+180E as well, and only these decide how white space is split.
TEST(PatternTest, WhiteSpaceIsExactlyTheUnicodeProperty) {
  EXPECT_THAT(FindAll(R"(\s)", "\u0085\u00A0\u180E\u200B\u3000\v"),
              ElementsAre("\u0085", "\u00A0", "\u3000", "\v"));
  EXPECT_THAT(FindAll(R"([^\s]+)", "a\u180Eb c"), ElementsAre("a\u180Eb", "c"));
  EXPECT_THAT(FindAll(R"(\S)", "\u180E "), ElementsAre("\u180E"));
}

TEST(PatternTest, AnEmptyMatchNeverTouchesTheOneBefore) {
  EXPECT_THAT(FindAll("x*", "axxé"), ElementsAre("", "xx", ""));
}

TEST(PatternTest, LiteralTextHasNoOperators) {
  const auto pattern = Pattern::Literal("a.b");
  ASSERT_TRUE(pattern.ok()) << pattern.status();
  int matches = 0;
  ASSERT_TRUE(pattern->ForEachMatch("a.b axb a.b", [&](TextRange) { return ++matches > 0; }).ok());
  EXPECT_EQ(matches, 2);
}

TEST(PatternTest, RefusesWhatTheTwoDialectsReadDifferently) {
  const char* const kRefused[] = {R"(\w+)",      R"(\bx)", R"(\h)",   R"(\p{Han})", R"(\pL)",
                                  R"([a-z&&b])", "[a[b]]", "(?<n>x)", "(?m:.)",     "x{,3}",
                                  "x{2}+",       R"(\1)",  R"(\X)",   R"(\K)",      "[]a]"};
  for (const char* expression : kRefused) {
    EXPECT_EQ(Pattern::Compile(expression).status().code(), absl::StatusCode::kUnimplemented)
        << expression;
  }
}

TEST(PatternTest, ASyntaxErrorNamesThePattern) {
  const absl::Status status = Pattern::Compile("(a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"(a\""));
}

TEST(PatternTest, ATextThatNeedsTooMuchBacktrackingIsInvalid) {
  const auto pattern = Pattern::Compile("(?:a|aa|aaa)+b");
  ASSERT_TRUE(pattern.ok()) << pattern.status();
  const absl::Status status =
      pattern->ForEachMatch(std::string(200, 'a') + "cb", [](TextRange) { return true; });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("limit"));
}

TEST(PatternTest, LooksNoFurtherThanItIsAskedTo) {
  const auto pattern = Pattern::Compile("a|(?:b|bb|bbb)+c");
  ASSERT_TRUE(pattern.ok()) << pattern.status();
  const std::string text = "aaa" + std::string(200, 'b');  // its end needs too much backtracking
  int matches = 0;
  const absl::Status status = pattern->ForEachMatch(text, [&](TextRange) { return ++matches < 3; });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(matches, 3);
}

// A working memory has a mapped stack of 8 MiB: one for every word stopped whole servers.
TEST(PatternTest, AThreadMakesItsWorkingMemoryOnce) {
  int64_t made = 0;
  std::thread([&made] {
    const int64_t before = Pattern::memories_made();
    EXPECT_THAT(FindAll("a", "bab"), ElementsAre("a"));
    for (const char* expression : {"a+", "(b)(a)(b)"}) {
      for (int i = 0; i < 100; ++i) FindAll(expression, "bab");
    }
    made = Pattern::memories_made() - before;
  }).join();
  EXPECT_EQ(made, 1);
}

TEST(PreTokenizerTest, LookAheadSeesOnlyItsPiece) {
  const PreTokenizer pre_tokenizer(
      {DigitsStep(/*individual=*/true), ByteLevelStep(/*add_prefix_space=*/false, true)});
  EXPECT_THAT(Words(pre_tokenizer, "a  42 don't"), ElementsAre("a", "  ", "4", "2", " don", "'t"));
}

TEST(PreTokenizerTest, EveryStepSplitsThePiecesOfTheOneBefore) {
  const auto dash = std::make_shared<const Pattern>(*Pattern::Literal("-"));
  const auto words = [&](SplitBehavior behavior, bool invert) {
    const PreTokenizerStep split = {.pattern = dash, .behavior = behavior, .invert = invert};
    return Words(PreTokenizer({split, DigitsStep(/*individual=*/true)}), "a--b1-");
  };
  using enum SplitBehavior;
  EXPECT_THAT(words(kIsolated, false), ElementsAre("a", "-", "-", "b", "1", "-"));
  EXPECT_THAT(words(kRemoved, false), ElementsAre("a", "b", "1"));
  EXPECT_THAT(words(kRemoved, true), ElementsAre("-", "-", "-"));
  EXPECT_THAT(words(kMergedWithPrevious, false), ElementsAre("a-", "-", "b", "1", "-"));
  EXPECT_THAT(words(kMergedWithNext, false), ElementsAre("a", "-", "-b", "1", "-"));
  EXPECT_THAT(words(kContiguous, false), ElementsAre("a", "--", "b", "1", "-"));
}

TEST(PreTokenizerTest, GoesNoFurtherThanItIsAskedTo) {
  const PreTokenizer pre_tokenizer(
      {ByteLevelStep(/*add_prefix_space=*/true, true), DigitsStep(/*individual=*/true)});
  std::vector<std::string> words;
  const absl::Status status = pre_tokenizer.ForEachWord("a 12 b", [&](absl::string_view word) {
    words.emplace_back(word);
    return words.size() < 3;
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(words, ElementsAre(" a", " ", "1"));
}

}  // namespace
}  // namespace peerage
