#include "client/score_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace peerage::client {
namespace {

// A line of one continuation with so many scored tokens and bytes, behind one that is not scored.
ScoredLine Line(size_t number, const std::string& text, double logprob, int scored, double bytes) {
  ScoredLine line{.number = number, .texts = {text}};
  v1::ContinuationScore& score = *line.response.add_scores();
  score.set_logprob(logprob);
  score.add_tokens();
  for (int i = 0; i < scored; ++i) score.add_tokens()->set_logprob(logprob / scored);
  if (scored > 0) score.set_bits_per_byte(-logprob / (std::log(2.0) * bytes));
  return line;
}

TEST(ScoreFiguresTest, AreOfTheScoredTokensAlone) {
  const ScoreFigures figures = FiguresOf(Line(1, "abc", -6, 3, 12));
  EXPECT_EQ(figures.tokens, 4u);
  EXPECT_EQ(figures.scored_tokens, 3u);
  EXPECT_EQ(figures.bytes, 12u);
  EXPECT_DOUBLE_EQ(figures.Perplexity(), std::exp(2.0));
  EXPECT_DOUBLE_EQ(figures.BitsPerByte(), 6 / (12 * std::log(2.0)));
}

TEST(ScoreFiguresTest, OfManyAreWeighedByTokensAndBytes) {
  ScoreFigures all = FiguresOf(Line(1, "a", -6, 3, 12));
  all.Add(FiguresOf(Line(2, "b", -1, 1, 2)));
  EXPECT_DOUBLE_EQ(all.Perplexity(), std::exp(7.0 / 4));
  EXPECT_DOUBLE_EQ(all.BitsPerByte(), 7 / (14 * std::log(2.0)));
}

TEST(ScoreFiguresTest, CountTheBytesOfATextThatIsCertain) {
  v1::ContinuationScore score;
  score.add_tokens()->set_logprob(0);
  EXPECT_EQ(FiguresOf(score, 5).bytes, 5u);
  EXPECT_EQ(FiguresOf(score, 5).BitsPerByte(), 0.0);
}

TEST(ScoreFiguresTest, AreNullWhereNothingWasScored) {
  const ScoreFigures figures = FiguresOf(Line(1, "a", 0, 0, 0));
  EXPECT_EQ(
      FiguresJson(figures).dump(),
      R"({"logprob":0.0,"tokens":1,"scored_tokens":0,"perplexity":null,"bits_per_byte":null})");
}

TEST(ScoredLineTableTest, HasARowForEachContinuationAndOneForAll) {
  EXPECT_EQ(ScoredLineTable({Line(1, "abc", -6, 3, 12), Line(4, "\u00e9\n", 0, 0, 0)}),
            "line  logprob  perplexity  bits/byte  tokens  scored  greedy  text\n"
            "   1  -6.0000      7.3891     0.7213       4       3  no      \"abc\"\n"
            "   4        -           -          -       1       0  no      \"\u00e9\\n\"\n"
            " all  -6.0000      7.3891     0.7213       5       3\n");
}

TEST(ScoredLineTableTest, CutsLongTextsBetweenCharacters) {
  const std::string text = std::string(47, 'a') + "\u00e9\u00e9";
  EXPECT_THAT(ScoredLineTable({Line(1, text, -1, 1, 1)}),
              ::testing::HasSubstr("\"" + std::string(47, 'a') + "\"...\n"));
}

}  // namespace
}  // namespace peerage::client
