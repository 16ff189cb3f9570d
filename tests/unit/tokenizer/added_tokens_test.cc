#include "model/tokenizer/added_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/string_view.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Segments as text, tokens with their id in front.
std::vector<std::string> Split(const AddedTokens& tokens, absl::string_view text,
                               SpecialTokens special = SpecialTokens::kRecognise) {
  std::vector<std::string> result;
  tokens.ForEachSegment(text, special, [&result](const TextSegment& segment) {
    const std::string id = segment.token.has_value() ? std::to_string(*segment.token) + ":" : "";
    result.push_back(id + std::string(segment.text));
    return true;
  });
  return result;
}

TEST(AddedTokensTest, TakesTheLeftmostAndOfThoseTheLongest) {
  const AddedTokens tokens(
      {{.id = 1, .content = "<a>"}, {.id = 2, .content = "<a>b"}, {.id = 3, .content = "b"}});
  EXPECT_THAT(Split(tokens, "x<a>bb<a>"), ElementsAre("x", "2:<a>b", "3:b", "1:<a>"));
  EXPECT_THAT(Split(tokens, ""), IsEmpty());
}

TEST(AddedTokensTest, SpecialTokensStayTextWhereTheyAreNotRecognised) {
  const AddedTokens tokens(
      {{.id = 1, .content = "<s>", .special = true}, {.id = 2, .content = "<t>"}});
  EXPECT_THAT(Split(tokens, "<s><t>"), ElementsAre("1:<s>", "2:<t>"));
  EXPECT_THAT(Split(tokens, "<s><t>", SpecialTokens::kAsText), ElementsAre("<s>", "2:<t>"));
}

TEST(AddedTokensTest, StripsWhiteSpaceOnTheSidesThatItIsAskedTo) {
  const AddedTokens tokens(
      {{.id = 1, .content = "<l>", .lstrip = true}, {.id = 2, .content = "<r>", .rstrip = true}});
  EXPECT_THAT(Split(tokens, "a \u3000<l> b <r>\n c"),
              ElementsAre("a", "1: \u3000<l>", " b ", "2:<r>\n ", "c"));
  EXPECT_THAT(Split(tokens, "<r> <l>"), ElementsAre("2:<r> ", "1:<l>")) << "taken once";
}

TEST(AddedTokensTest, ASingleWordTouchesNoWordCharacter) {
  const AddedTokens tokens({{.id = 1, .content = "go", .single_word = true}});
  EXPECT_THAT(Split(tokens, "go ago go! g\u00F6go"),
              ElementsAre("1:go", " ago ", "1:go", "! g\u00F6go"));
}

TEST(AddedTokensTest, LooksNoFurtherThanItIsAskedTo) {
  const AddedTokens tokens(
      {{.id = 1, .content = "<a>"}, {.id = 2, .content = "<n>", .normalized = true}});
  for (const int wanted : {1, 2, 3}) {
    int told = 0;
    tokens.ForEachSegment("x<n>y<a>z<a>", SpecialTokens::kRecognise,
                          [&](const TextSegment&) { return ++told < wanted; });
    EXPECT_EQ(told, wanted);
  }
}

TEST(AddedTokensTest, NormalizedTokensAreFoundInWhatTheOthersLeave) {
  const AddedTokens tokens({{.id = 1, .content = "bc"},
                            {.id = 2, .content = "abc", .normalized = true},
                            {.id = 3, .content = "a", .normalized = true}});
  EXPECT_THAT(Split(tokens, "abc"), ElementsAre("3:a", "1:bc"));
}

}  // namespace
}  // namespace peerage
