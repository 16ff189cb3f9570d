#include "client/answer_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace peerage::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::GenerateStreamResponse Delta(uint32_t index, const std::string& text) {
  v1::GenerateStreamResponse event;
  event.mutable_delta()->set_index(index);
  event.mutable_delta()->set_text(text);
  return event;
}

v1::GenerateStreamResponse Finished(uint32_t index, v1::FinishReason reason) {
  v1::GenerateStreamResponse event;
  v1::Finished* finished = event.mutable_finished();
  finished->set_index(index);
  finished->mutable_finish()->set_reason(reason);
  finished->mutable_usage()->set_completion_tokens(11);
  finished->mutable_timings()->mutable_decode()->set_nanos(100'000'000);
  finished->mutable_timings()->mutable_time_to_first_token()->set_nanos(45'000'000);
  return event;
}

TEST(GenerationReportTest, PrintsOneCandidateAsItComesAndEndsItsLine) {
  GenerationReport report(1);
  EXPECT_EQ(report.Add(Delta(0, "Hel")), "Hel");
  EXPECT_EQ(report.Add(Delta(0, "lo")), "lo");
  EXPECT_EQ(report.Add(Finished(0, v1::FINISH_REASON_LENGTH)), "");
  EXPECT_EQ(report.End(), "\n");
}

TEST(GenerationReportTest, GathersTheHiddenStatesOfEveryCandidate) {
  GenerationReport report(2);
  for (const uint32_t index : {1, 0}) {
    v1::GenerateStreamResponse event = Finished(index, v1::FINISH_REASON_LENGTH);
    for (uint32_t layer : {4, 5}) {
      event.mutable_finished()->add_hidden_states()->set_layer(10 * index + layer);
    }
    report.Add(event);
  }
  std::vector<uint32_t> layers;
  for (const v1::HiddenStates& states : report.HiddenStates()) layers.push_back(states.layer());
  EXPECT_THAT(layers, ElementsAre(4, 5, 14, 15));
}

TEST(GenerationReportTest, EndsNoLineThatHasEnded) {
  GenerationReport report(1);
  EXPECT_EQ(report.End(), "");
  report.Add(Delta(0, "line\n"));
  report.Add(Delta(0, ""));
  EXPECT_EQ(report.End(), "");
}

TEST(GenerationReportTest, PrintsSeveralCandidatesWhole) {
  GenerationReport report(2);
  EXPECT_EQ(report.Add(Delta(1, "b1")), "");
  EXPECT_EQ(report.Add(Delta(0, "a1")), "");
  EXPECT_EQ(report.Add(Delta(1, "b2")), "");
  EXPECT_EQ(report.Add(Finished(1, v1::FINISH_REASON_LENGTH)), "[1] b1b2\n");
  EXPECT_EQ(report.Add(Finished(0, v1::FINISH_REASON_LENGTH)), "[0] a1\n");
}

TEST(GenerationReportTest, TakesNoMemoryForAnIndexBeyondWhatWasAskedFor) {
  GenerationReport report(2);
  report.Add(Delta(4'000'000'000u, "x"));
  EXPECT_EQ(report.Add(Finished(1, v1::FINISH_REASON_LENGTH)), "[1] x\n");
}

TEST(GenerationReportTest, SumsUpTokensSpeedAndReason) {
  GenerationReport report(1);
  v1::GenerateStreamResponse started;
  started.mutable_started()->set_prompt_tokens(7);
  report.Add(started);
  v1::GenerateStreamResponse finished = Finished(0, v1::FINISH_REASON_STOP);
  finished.mutable_finished()->mutable_finish()->set_stop("\n\n");
  report.Add(finished);

  EXPECT_EQ(report.Summary(),
            "7 prompt + 11 new tokens, first after 45.0 ms, then 100.0 tokens/s; "
            "ended: stop \"\\n\\n\"\n");
}

TEST(GenerationReportTest, ListsTokensWithTheirAlternatives) {
  GenerationReport report(1);
  v1::GenerateStreamResponse event = Delta(0, "x");
  v1::TokenLogprob* token = event.mutable_delta()->add_logprobs();
  token->set_token_id(42);
  token->set_logprob(-0.5f);
  token->set_rank(1);
  token->add_alternative_ids(42);
  token->add_alternative_logprobs(-0.5f);
  token->add_alternative_ids(7);
  token->add_alternative_logprobs(-1.25f);
  report.Add(event);

  EXPECT_THAT(report.TokenIds(), ::testing::ElementsAre(7, 42));
  EXPECT_THAT(report.LogprobTable(TokenTexts({{42, " a\n"}, {7, "\xc3"}})),
              HasSubstr("0     42  \" a\\n\"  -0.5000     1  42 \" a\\n\" -0.5000, "
                        "7 \"\\xc3\" -1.2500\n"));
}

TEST(GenerationReportTest, SaysWhichExpertsEachCandidateUsed) {
  v1::GenerateStreamResponse finished = Finished(1, v1::FINISH_REASON_LENGTH);
  finished.mutable_finished()->mutable_expert_trace()->add_layers()->set_layer(3);
  GenerationReport report(2);
  report.Add(finished);

  EXPECT_THAT(report.ExpertTraces(), ::testing::StartsWith("[1]\nlayer 3 "));
  EXPECT_EQ(GenerationReport(1).ExpertTraces(), "");
}

TEST(ScoreTableTest, ShowsEveryContinuationWithItsAverages) {
  v1::ScoreResponse response;
  v1::ContinuationScore* score = response.add_scores();
  score->set_logprob(-3);
  score->set_bits_per_byte(0.75);
  score->add_tokens();  // nothing before it: no log-probability
  score->add_tokens()->set_logprob(-1);
  score->add_tokens()->set_logprob(-2);
  response.add_scores()->set_is_greedy(true);

  EXPECT_EQ(ScoreTable(response, {" Paris", "\n"}),
            "logprob  per token  bits/byte  tokens  greedy  text\n"
            "-3.0000    -1.5000     0.7500       3  no      \" Paris\"\n"
            "      -          -          -       0  -       \"\\n\"\n");
}

TEST(ScoredTokenTableTest, ShowsTheTextOfEachToken) {
  v1::ScoreResponse response;
  response.add_scores()->add_tokens()->set_token_id(3);  // nothing before it
  v1::TokenLogprob& token = *response.add_scores()->add_tokens();
  token.set_token_id(4);
  token.set_logprob(-2);
  token.set_rank(5);

  EXPECT_EQ(ScoredTokenTable(response, TokenTexts({{3, "x"}, {4, "yz"}})),
            "continuation  token  text  logprob  rank  alternatives\n"
            "           0      3  \"x\"         -     -\n"
            "           1      4  \"yz\"  -2.0000     5\n");
}

}  // namespace
}  // namespace peerage::client
