#include "server/engine/candidate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/fake_tokenizer.h"

namespace peerage {
namespace {

constexpr TokenId kA = FakeTokenizer::Letter('a');
constexpr TokenId kB = FakeTokenizer::Letter('b');
constexpr TokenId kC = FakeTokenizer::Letter('c');

struct Case {
  std::string name;
  StoppingRules rules;
  std::vector<TokenId> tokens;  // the last one finishes
  std::string text;
  FinishReason reason = FinishReason::kLength;
  std::string stop = "";
  std::optional<TokenId> stop_token_id = std::nullopt;
};

class CandidateTest : public ::testing::Test {
 protected:
  const FakeTokenizer tokenizer_;
  const absl::Time arrival_ = absl::FromUnixSeconds(100);
  const Timeline started_ = {.arrival = arrival_, .scheduled = arrival_ + absl::Seconds(1)};
};

TEST_F(CandidateTest, FinishesByTheFirstRuleThatApplies) {
  const Case cases[] = {
      {"length", {.max_tokens = 2}, {kA, kB}, "ab"},
      {"end id, which leaves no text",
       {.max_tokens = 9, .end_ids = {FakeTokenizer::kEos}},
       {kA, FakeTokenizer::kEos},
       "a",
       FinishReason::kEndOfSequence},
      {"end id at max_tokens",
       {.max_tokens = 2, .end_ids = {FakeTokenizer::kEos}},
       {kA, FakeTokenizer::kEos},
       "a",
       FinishReason::kEndOfSequence},
      {"stop id, an ordinary token",
       {.max_tokens = 9, .stop_token_ids = {kC}},
       {kA, kC},
       "ac",
       FinishReason::kStop,
       "",
       kC},
      {"stop string over two tokens",
       {.max_tokens = 9, .stop = {"x", "bc"}},
       {kA, kB, kC},
       "a",
       FinishReason::kStop,
       "bc"},
      {"stop string before length",
       {.max_tokens = 2, .stop = {"ab"}},
       {kA, kB},
       "",
       FinishReason::kStop,
       "ab"},
      {"stop string before stop id",
       {.max_tokens = 9, .stop = {"b"}, .stop_token_ids = {kB}},
       {kA, kB},
       "a",
       FinishReason::kStop,
       "b"},
      {"held-back text is flushed at the end", {.max_tokens = 2, .stop = {"abc"}}, {kA, kB}, "ab"},
      {"an unfinished code point is flushed at the end",
       {.max_tokens = 2},
       {kA, FakeTokenizer::kFirstHalf},
       "a\xEF\xBF\xBD"},
      {"stop strings count from min_tokens on",
       {.max_tokens = 4, .min_tokens = 3, .stop = {"a", "ab"}},
       {kA, kB, kC, kA},
       "abc",
       FinishReason::kStop,
       "a"},
      {"an end id without ignore_eos is no end", {.max_tokens = 2}, {FakeTokenizer::kEos, kA}, "a"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Candidate candidate(3, &c.rules, &tokenizer_);
    std::string text;
    for (size_t i = 0; i < c.tokens.size(); ++i) {
      const Candidate::Progress progress = candidate.Append(c.tokens[i], started_, arrival_);
      text += progress.text;
      ASSERT_EQ(progress.finish.has_value(), i + 1 == c.tokens.size());
      if (!progress.finish) continue;
      EXPECT_EQ(progress.finish->candidate, 3u);
      EXPECT_EQ(progress.finish->reason, c.reason);
      EXPECT_EQ(progress.finish->stop, c.stop);
      EXPECT_EQ(progress.finish->stop_token_id, c.stop_token_id);
      EXPECT_EQ(progress.finish->completion_tokens, c.tokens.size());
    }
    EXPECT_EQ(text, c.text);
  }
}

TEST_F(CandidateTest, HoldsTextBackUntilItsCodePointIsWhole) {
  const StoppingRules rules{.max_tokens = 9};
  Candidate candidate(0, &rules, &tokenizer_);

  EXPECT_EQ(candidate.Append(FakeTokenizer::kFirstHalf, started_, arrival_).text, "");
  EXPECT_EQ(candidate.Append(FakeTokenizer::kSecondHalf, started_, arrival_).text, "\xC3\xA9");
}

TEST_F(CandidateTest, TimesItsTokensFromTheRequestsArrival) {
  const StoppingRules rules{.max_tokens = 2};
  Candidate candidate(0, &rules, &tokenizer_);

  candidate.Append(kA, started_, arrival_ + absl::Seconds(3));
  const auto finish = candidate.Append(kB, started_, arrival_ + absl::Seconds(7)).finish;

  ASSERT_TRUE(finish);
  EXPECT_EQ(finish->timings.queue, absl::Seconds(1));
  EXPECT_EQ(finish->timings.prefill, absl::Seconds(2));
  EXPECT_EQ(finish->timings.time_to_first_token, absl::Seconds(3));
  EXPECT_EQ(finish->timings.decode, absl::Seconds(4));
}

}  // namespace
}  // namespace peerage
