#include "model/tokenizer/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

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
  const auto matches = PatternMatcher(*pattern).FindAll(text);
  EXPECT_TRUE(matches.ok()) << matches.status();
  std::vector<std::string> found;
  for (const TextRange& match : *matches) {
    found.emplace_back(text.substr(match.begin, match.end - match.begin));
  }
  return found;
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
  EXPECT_EQ(PatternMatcher(*pattern).FindAll("a.b axb a.b")->size(), 2u);
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
  const auto matches = PatternMatcher(*pattern).FindAll(std::string(200, 'a') + "cb");
  EXPECT_EQ(matches.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(matches.status().message()), HasSubstr("limit"));
}

TEST(PreTokenizerTest, LookAheadSeesOnlyItsPiece) {
  const PreTokenizer pre_tokenizer(
      {DigitsStep(/*individual=*/true), ByteLevelStep(/*add_prefix_space=*/false, true)});
  const auto split = pre_tokenizer.Split("a  42 don't");
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_THAT(split->words, ElementsAre("a", "  ", "4", "2", " don", "'t"));
}

}  // namespace
}  // namespace peerage
