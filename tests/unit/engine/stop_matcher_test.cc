#include "server/engine/stop_matcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace peerage {
namespace {

using ::testing::Optional;

// What comes out of a matcher fed piece by piece: the text, and the stop string if one matched.
struct Outcome {
  std::string text;
  std::string stop;

  bool operator==(const Outcome&) const = default;
};

Outcome Feed(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  Outcome outcome;
  for (const std::string& piece : pieces) {
    const StopMatcher::Result result = matcher.Append(piece);
    outcome.text += result.text;
    if (result.stop) {
      outcome.stop = stops[*result.stop];
      return outcome;
    }
  }
  outcome.text += matcher.Flush();
  return outcome;
}

TEST(StopMatcherTest, PassesTextThroughWithoutStopStrings) {
  StopMatcher matcher({});

  EXPECT_EQ(matcher.Append("anything").text, "anything");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcherTest, HoldsBackWhatCouldBeginAStopString) {
  StopMatcher matcher({"stop"});

  EXPECT_EQ(matcher.Append("a st").text, "a ");
  EXPECT_EQ(matcher.Append("").text, "");
  EXPECT_EQ(matcher.Append("ep").text, "step");
  EXPECT_EQ(matcher.Append("s").text, "");
  EXPECT_EQ(matcher.Flush(), "s");
}

TEST(StopMatcherTest, LeavesOutTheTextFromTheMatchOn) {
  StopMatcher matcher({"END", "\n\n"});

  EXPECT_EQ(matcher.Append("one\n").text, "one");
  const StopMatcher::Result result = matcher.Append("\ntwo");
  EXPECT_EQ(result.text, "");
  EXPECT_THAT(result.stop, Optional(1));
}

TEST(StopMatcherTest, FindsAMatchThatBeginsInsideAFailedOne) {
  EXPECT_EQ(Feed({"aab"}, {"aa", "ab"}), (Outcome{"a", "aab"}));
  EXPECT_EQ(Feed({"abab!"}, {"ababab!"}), (Outcome{"ab", "abab!"}));
}

TEST(StopMatcherTest, TakesTheMatchThatEndsFirstAndThenTheLongest) {
  EXPECT_EQ(Feed({"abcd", "c"}, {"abcd"}), (Outcome{"ab", "c"}));
  EXPECT_EQ(Feed({"c", "abc"}, {"abcd"}), (Outcome{"", "abc"}));
}

// The promise behind streaming: the outcome is that of the whole text, however it is cut.
TEST(StopMatcherTest, DoesNotDependOnHowTheTextIsCut) {
  std::mt19937 random(7);
  const auto word = [&random](int longest) {
    std::string text(1 + random() % longest, 'a');
    for (char& c : text) c += random() % 2;
    return text;
  };
  for (int round = 0; round < 3'000; ++round) {
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string& stop : stops) stop = word(6);
    const std::string text = word(30);
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      pieces.push_back(text.substr(at, random() % 4));
      at += pieces.back().size();
    }

    Outcome naive{.text = text};
    for (size_t end = 0; end <= text.size() && naive.stop.empty(); ++end) {
      for (const std::string& stop : stops) {
        const bool matches = end >= stop.size() && stop.size() > naive.stop.size() &&
                             text.compare(end - stop.size(), stop.size(), stop) == 0;
        if (matches) naive = {text.substr(0, end - stop.size()), stop};
      }
    }
    ASSERT_EQ(Feed(stops, pieces), naive) << "round " << round << ", text " << text;
  }
}

}  // namespace
}  // namespace peerage
