#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "server/engine/candidate.h"
#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using Code = absl::StatusCode;

TEST_F(EngineTest, GeneratesWhatTheRequestAloneWouldGet) {
  Start();
  GenerateRequest request = Generate({1, 2, 3, 4, 5}, 20);
  request.stopping.stop = {"ab", "c"};
  request.alternatives = 2;

  const Call call = Submit(request);

  ExpectReference(request, *call.sink);
  ExpectNothingHeld();
}

TEST_F(EngineTest, ComputesThePromptOnceForAllCandidates) {
  Start();
  GenerateRequest request = Generate({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 4);
  request.candidates = 5;
  request.sampling.seed = 11;

  const Call call = Submit(request);

  ExpectReference(request, *call.sink);
  // Nine tokens together, then each candidate its own: the tenth and three generated ones.
  EXPECT_EQ(model_->num_computed_tokens(), 9 + 5 * 4);
  EXPECT_NE(call.sink->record().candidates[0].tokens, call.sink->record().candidates[1].tokens);
  ExpectNothingHeld();
}

TEST_F(EngineTest, ForksACandidateFromAPromptOfOneToken) {
  Start();
  GenerateRequest request = Generate({9}, 3);
  request.candidates = 3;

  ExpectReference(request, *Submit(request).sink);
}

TEST_F(EngineTest, ReportsPromptLogprobsWhateverTheChunks) {
  for (int32_t budget : {1, 3, 64}) {
    for (uint32_t candidates : {1, 2}) {
      Start({.max_batch_tokens = budget});
      GenerateRequest request = Generate({5, 4, 3, 2, 1, 6, 7}, 2);
      request.prompt_logprobs = true;
      request.candidates = candidates;

      const Call call = Submit(request);

      ExpectReference(request, *call.sink);
      EXPECT_TRUE(call.sink->record().prompt_logprobs == PromptLogprobsAlone(request));
    }
  }
}

TEST_F(EngineTest, ScoresContinuationsAfterOneContext) {
  for (int32_t budget : {1, 3, 64}) {
    Start({.max_batch_tokens = budget});
    const ScoreRequest request{.context = {1, 2, 3, 4, 5, 6},
                               .continuations = {{7}, {8, 9, 10}, {11, 12}, {7, 7, 7, 7, 7, 7}},
                               .alternatives = 3};

    const Call call = Submit(request);

    EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
    RecordingSink::Record record = call.sink->record();
    const auto expected = ScoreAlone(request);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(record.scores[i] == expected[i]);
    EXPECT_EQ(model_->num_computed_tokens(), 6 + 2 + 1 + 5);
    ExpectNothingHeld();
  }
}

TEST_F(EngineTest, ScoresWithoutAContext) {
  Start();
  const ScoreRequest request{.continuations = {{7, 8, 9}, {5}}};

  const Call call = Submit(request);

  EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
  RecordingSink::Record record = call.sink->record();
  EXPECT_TRUE(record.scores[0] == ScoreAlone(request)[0]);
  EXPECT_TRUE(record.scores[1] == ScoreAlone(request)[1]);
  EXPECT_FALSE(record.scores[1][0].logprob);
}

TEST_F(EngineTest, AnswersWhatNeedsNoComputationWithoutAStep) {
  Start();

  const Call call = Submit(ScoreRequest{.continuations = {{5}, {6}}});

  EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
  EXPECT_THAT(call.sink->record().scores, SizeIs(2));
  EXPECT_EQ(engine_->status().steps, 0u);
}

TEST_F(EngineTest, ScoresManyRequestsWithOneSequence) {
  Start({.max_sequences = 1},
        {.capacity = {.block_tokens = 4, .num_blocks = 6, .num_slots = 1, .max_step_tokens = 64}});
  const ScoreRequest request{.context = {1, 2, 3, 4, 5},
                             .continuations = std::vector<std::vector<TokenId>>(30, {6, 7, 8})};
  std::vector<Call> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(Submit(request));

  for (const Call& call : calls) {
    EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
    EXPECT_THAT(call.sink->record().scores, SizeIs(30));
  }
  ExpectNothingHeld();
}

// Wherever a stream breaks, the same request goes on with what would have followed.
TEST_F(EngineTest, GoesOnBehindWhatWasGeneratedBefore) {
  Start();
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    GenerateRequest request = Generate({3, 1, static_cast<TokenId>(seed % 7)}, 12);
    request.sampling = {.temperature = seed % 4 == 0 ? 0.0f : 1.0f, .seed = seed};
    request.alternatives = 2;
    request.stopping.end_ids = {FakeTokenizer::kEos};
    if (seed % 2 == 0) request.stopping.stop = {"ab", "c", "\xC3\xA9"};
    if (seed % 3 == 0) request.stopping.stop_token_ids = {5, 6};
    const Call whole = Submit(request);
    ASSERT_EQ(whole.sink->WaitDone(), absl::OkStatus());
    const RecordingSink::Candidate expected = whole.sink->record().candidates[0];
    Candidate before(0, &request.stopping, &tokenizer_);
    std::string text;  // that was delivered with the tokens before
    for (size_t cut = 1; cut <= expected.tokens.size(); ++cut) {
      text +=
          before.Append(expected.tokens[cut - 1], {.scheduled = clock_.Now()}, clock_.Now()).text;
      request.generated.assign(expected.tokens.begin(), expected.tokens.begin() + cut);
      request.is_over = cut == expected.tokens.size();
      const uint64_t steps = engine_->status().steps;
      const Call resumed = Submit(request);

      ASSERT_EQ(resumed.sink->WaitDone(), absl::OkStatus());
      const RecordingSink::Candidate actual = resumed.sink->record().candidates[0];
      EXPECT_EQ(absl::MakeSpan(actual.tokens), absl::MakeSpan(expected.tokens).subspan(cut));
      EXPECT_TRUE(absl::MakeSpan(actual.logprobs) ==
                  absl::MakeSpan(expected.logprobs).subspan(cut));
      EXPECT_EQ(text + actual.text, expected.text);
      ASSERT_TRUE(actual.finish);
      EXPECT_EQ(actual.finish->reason, expected.finish->reason);
      EXPECT_EQ(actual.finish->stop, expected.finish->stop);
      EXPECT_EQ(actual.finish->stop_token_id, expected.finish->stop_token_id);
      EXPECT_EQ(actual.finish->completion_tokens, expected.finish->completion_tokens);
      EXPECT_EQ(engine_->status().steps == steps, request.is_over);
    }
  }
  ExpectNothingHeld();
}

TEST_F(EngineTest, BatchesRequestsThatRunTogether) {
  Start();
  const GenerateRequest request = Generate({1, 2, 3}, 4);
  const Call first = SubmitAndHold(request);
  const Call second = Submit(request);
  model_->LetStepThrough();
  model_->LetStepThrough();  // of the first alone, which shows what that takes
  EXPECT_THAT(model_->last_chunks(), SizeIs(1));
  model_->LetStepThrough();

  EXPECT_THAT(model_->last_chunks(), SizeIs(2));
  model_->OpenGate();
  ExpectReference(request, *first.sink);
  ExpectReference(request, *second.sink);
}

TEST_F(EngineTest, TellsTheObserverWhatHappened) {
  Start();
  GenerateRequest request = Generate({1, 2, 3, 4, 5}, 3);
  request.scheduling.arrival = clock_.Now() - absl::Seconds(2);
  ASSERT_EQ(Submit(request).sink->WaitDone(), absl::OkStatus());
  ASSERT_EQ(
      Submit(ScoreRequest{.context = {1, 2}, .continuations = {{3}, {4, 5}}}).sink->WaitDone(),
      absl::OkStatus());
  ASSERT_EQ(Refusal(Generate({1}, 1000)).code(), Code::kOutOfRange);

  const std::vector<RequestEvent> requests = observer_.requests();
  ASSERT_THAT(requests, SizeIs(3));
  EXPECT_EQ(requests[0].kind, RequestKind::kGenerate);
  EXPECT_EQ(requests[0].code, Code::kOk);
  EXPECT_EQ(requests[0].prompt_tokens, 5u);
  EXPECT_EQ(requests[0].completion_tokens, 3u);
  EXPECT_EQ(requests[0].total, absl::Seconds(2));
  EXPECT_EQ(requests[0].timings.queue, absl::Seconds(2));
  EXPECT_EQ(requests[0].timings.time_to_first_token, absl::Seconds(2));
  EXPECT_EQ(requests[1].kind, RequestKind::kScore);
  EXPECT_EQ(requests[1].prompt_tokens, 2u);
  EXPECT_EQ(requests[1].completion_tokens, 3u);
  EXPECT_EQ(requests[2].code, Code::kOutOfRange);
  EXPECT_EQ(requests[2].prompt_tokens, 0u);

  TokensEvent tokens;
  std::vector<double> first_tokens;
  for (const TokensEvent& event : observer_.tokens()) {
    tokens.prompt += event.prompt;
    tokens.generated += event.generated;
    tokens.scored += event.scored;
    first_tokens.insert(first_tokens.end(), event.first_token_seconds.begin(),
                        event.first_token_seconds.end());
  }
  EXPECT_EQ(tokens.prompt, 7);
  EXPECT_EQ(tokens.generated, 3);
  EXPECT_EQ(tokens.scored, 3);
  EXPECT_THAT(first_tokens, ElementsAre(2, 0));
  EXPECT_THAT(requests[0].finished_candidates, ElementsAre(0u, 0u, 1u));
  EXPECT_EQ(requests[0].longest_candidate, 3u);
  EXPECT_TRUE(requests[0].admitted);
  EXPECT_FALSE(requests[2].admitted);
  EXPECT_FALSE(requests[2].scheduled);
  EXPECT_EQ(requests[2].unfinished_candidates, 0u);

  const std::vector<StepEvent> steps = observer_.steps();
  ASSERT_THAT(steps, SizeIs(5));
  EXPECT_EQ(steps[0].prefill_tokens, 5);
  EXPECT_EQ(steps[1].decode_tokens, 1);
  EXPECT_EQ(steps[2].decode_tokens, 1);
  EXPECT_EQ(steps[3].prefill_tokens, 2);
  EXPECT_EQ(steps[4].prefill_tokens, 1);
}

TEST_F(EngineTest, ServesManyThreadsAtOnce) {
  Start({.max_batch_tokens = 5, .max_sequences = 3, .max_queued_requests = 1000});
  std::vector<std::thread> threads;
  for (TokenId t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (TokenId i = 0; i < 25; ++i) {
        const GenerateRequest request = Generate({t + 1, i + 1, 3}, 1 + i % 7);
        const Call call = Submit(request);
        if (i % 5 == 4) {
          engine_->Cancel(call.handle);
          call.sink->WaitDone().IgnoreError();
        } else {
          ExpectReference(request, *call.sink);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectNothingHeld();
}

}  // namespace
}  // namespace peerage
