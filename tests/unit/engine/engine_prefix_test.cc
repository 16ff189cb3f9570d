// What requests that begin alike save, and that nobody can tell but by the time it takes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using Tokens = std::vector<TokenId>;

Tokens Count(TokenId first, TokenId count) {
  Tokens tokens;
  for (TokenId i = 0; i < count; ++i) tokens.push_back(1 + (first + i) % 27);
  return tokens;
}

class EnginePrefixTest : public EngineTest {
 protected:
  // Runs the request to its end; how many tokens the model computed for it.
  int64_t Computed(const GenerateRequest& request, RecordingSink::Record* record = nullptr) {
    const int64_t before = model_->num_computed_tokens();
    const Call call = Submit(request);
    ExpectReference(request, *call.sink);
    if (record != nullptr) *record = call.sink->record();
    return model_->num_computed_tokens() - before;
  }

  uint32_t Cached(const GenerateRequest& request) {
    RecordingSink::Record record;
    Computed(request, &record);
    return record.cached_tokens;
  }
};

TEST_F(EnginePrefixTest, ComputesOnlyWhatIsBehindTheCachedBlocks) {
  Start();  // blocks of 4
  GenerateRequest request = Generate(Count(0, 11), 3);
  EXPECT_EQ(Computed(request), 11 + 2);

  EXPECT_EQ(Computed(request), 3 + 2) << "the last token is computed, whatever is cached";
  request.prompt.push_back(5);
  EXPECT_EQ(Computed(request), 4 + 2);
  request.prompt = Count(0, 8);
  EXPECT_EQ(Computed(request), 4 + 2);
  request.prompt[5] = 26;
  EXPECT_EQ(Computed(request), 4 + 2) << "of the second block, one token is another";
  request.prompt[0] = 26;
  EXPECT_EQ(Computed(request), 8 + 2);
  ExpectNothingHeld();
}

TEST_F(EnginePrefixTest, GoesOnBehindWhatWasGenerated) {
  Start();
  GenerateRequest first = Generate(Count(0, 6), 9);
  RecordingSink::Record record;
  Computed(first, &record);
  const Tokens answer = record.candidates[0].tokens;

  GenerateRequest second = Generate(first.prompt, 2);
  second.prompt.insert(second.prompt.end(), answer.begin(), answer.end());
  second.prompt.push_back(3);
  EXPECT_EQ(Cached(second), 12u) << "of 6 + 8 that were computed";
}

TEST_F(EnginePrefixTest, SharesWithWhoStillRuns) {
  Start({.max_batch_tokens = 8});
  const GenerateRequest request = Generate(Count(3, 20), 30);
  const Call first = SubmitAndHold(request);
  model_->LetStepThrough();
  model_->LetStepThrough();
  const Call second = Submit(request);
  model_->OpenGate();

  ExpectReference(request, *first.sink);
  ExpectReference(request, *second.sink);
  EXPECT_GE(second.sink->record().cached_tokens, 8u);
  ExpectNothingHeld();
}

TEST_F(EnginePrefixTest, SharesNothingBetweenSalts) {
  Start();
  GenerateRequest request = Generate(Count(0, 11), 3);
  EXPECT_EQ(Cached(request), 0u);
  request.scheduling.cache_salt = "a";
  EXPECT_EQ(Cached(request), 0u);
  EXPECT_EQ(Cached(request), 8u);
  request.scheduling.cache_salt = "b";
  EXPECT_EQ(Cached(request), 0u);
  request.scheduling.cache_salt = "";
  EXPECT_EQ(Cached(request), 8u);
}

TEST_F(EnginePrefixTest, KeepsNothingWhereItIsOff) {
  Start({.prefix_cache = false});
  const GenerateRequest request = Generate(Count(0, 11), 3);
  EXPECT_EQ(Cached(request), 0u);
  EXPECT_EQ(Cached(request), 0u);
  EXPECT_EQ(engine_->status().kv_blocks_cached, 0);
}

TEST_F(EnginePrefixTest, GivesUpWhatWasLetGoLongestAgo) {
  Start({},
        {.capacity = {.block_tokens = 4, .num_blocks = 8, .num_slots = 4, .max_step_tokens = 64}});
  const GenerateRequest a = Generate(Count(0, 13), 1), b = Generate(Count(9, 13), 1);
  EXPECT_EQ(Cached(a), 0u);
  EXPECT_EQ(Cached(b), 0u);
  EXPECT_EQ(Cached(a), 12u);
  EXPECT_EQ(Cached(Generate(Count(20, 9), 1)), 0u) << "takes the place of the end of b";

  EXPECT_EQ(Cached(a), 12u);
  EXPECT_LT(Cached(b), 12u);
}

TEST_F(EnginePrefixTest, AnswersPromptLogprobsFromTheCache) {
  Start();
  GenerateRequest request = Generate(Count(0, 15), 2);
  EXPECT_EQ(Cached(request), 0u);
  request.prompt_logprobs = true;
  for (const int32_t alternatives : {2, 2, 1, -1, 3, 3}) {
    for (const uint32_t candidates : {1, 2}) {
      request.alternatives = alternatives;
      request.candidates = candidates;
      RecordingSink::Record record;
      Computed(request, &record);
      EXPECT_TRUE(record.prompt_logprobs == PromptLogprobsAlone(request)) << alternatives;
      const bool is_first = candidates == 1 && (alternatives == 3 || alternatives == 2);
      EXPECT_TRUE(is_first || record.cached_tokens == 8) << record.cached_tokens;
    }
  }
  request.prompt.resize(10);
  request.prompt[9] = 20;
  RecordingSink::Record record;
  Computed(request, &record);
  EXPECT_TRUE(record.prompt_logprobs == PromptLogprobsAlone(request));
  EXPECT_EQ(record.cached_tokens, 4u) << "what is behind 4 is in the second block";
}

// The tokens that were generated are another's prompt, of which the cache has likelihoods.
TEST_F(EnginePrefixTest, AResumedRequestIsToldOfItsPromptAlone) {
  Start();
  GenerateRequest whole = Generate(Count(0, 15), 2);
  whole.prompt_logprobs = true;
  Computed(whole);

  GenerateRequest resumed = Generate(Count(0, 6), 12);
  resumed.generated = {whole.prompt.begin() + 6, whole.prompt.end()};
  resumed.prompt_logprobs = true;
  const Call call = Submit(resumed);
  ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());
  EXPECT_EQ(call.sink->record().cached_tokens, 12u) << "all but the last of 15";
  EXPECT_TRUE(call.sink->record().prompt_logprobs == PromptLogprobsAlone(resumed));
}

// Nobody was ever told how likely those were, and nobody asks.
TEST_F(EnginePrefixTest, AResumedRequestFindsWhatItHadGenerated) {
  Start();  // blocks of 4
  for (const TokenId prompt : {6, 7, 8, 9}) {
    GenerateRequest whole = Generate(Count(prompt, prompt), 12);
    whole.alternatives = 1;
    whole.prompt_logprobs = true;
    RecordingSink::Record record;
    Computed(whole, &record);
    const Tokens answer = record.candidates[0].tokens;

    GenerateRequest resumed = whole;
    resumed.generated.assign(answer.begin(), answer.begin() + 5);
    const Call call = Submit(resumed);
    ASSERT_EQ(call.sink->WaitDone(), absl::OkStatus());
    EXPECT_EQ(call.sink->record().cached_tokens, (prompt + 5 - 1) / 4 * 4) << prompt;
    EXPECT_TRUE(call.sink->record().prompt_logprobs == PromptLogprobsAlone(resumed)) << prompt;

    // Who has some of them in its prompt wants to be told, and computes from there on.
    GenerateRequest longer = Generate(resumed.prompt, 2);
    longer.prompt.insert(longer.prompt.end(), answer.begin(), answer.begin() + 5);
    longer.prompt_logprobs = true;
    Computed(longer, &record);
    EXPECT_EQ(record.cached_tokens, (prompt - 1) / 4 * 4) << prompt;
    EXPECT_TRUE(record.prompt_logprobs == PromptLogprobsAlone(longer)) << prompt;
  }
}

TEST_F(EnginePrefixTest, ScoresBehindACachedContext) {
  Start();
  ScoreRequest request{.context = Count(0, 16), .continuations = {{7, 8, 9}, {5}}};
  for (const uint32_t cached : {0, 12}) {
    const Call call = Submit(request);
    EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
    RecordingSink::Record record = call.sink->record();
    for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(record.scores[i] == ScoreAlone(request)[i]);
    EXPECT_EQ(record.cached_tokens, cached);
  }
  ExpectNothingHeld();
}

TEST_F(EnginePrefixTest, TracesWhatWasComputedAndSaysWhatWasNot) {
  constexpr ExpertLayer kLayer = {.num_experts = 8, .heads = 1, .top_k = 1};
  FakeModelOptions model;
  model.expert_layers = {kLayer};
  Start({}, model);
  GenerateRequest request = Generate(Count(0, 11), 3);
  request.trace = ExpertTraceLevel::kFull;
  for (const uint32_t cached : {0, 8}) {
    RecordingSink::Record record;
    Computed(request, &record);
    EXPECT_EQ(record.cached_tokens, cached);
    ASSERT_TRUE(record.prompt_trace);
    EXPECT_EQ(record.prompt_trace->tokens, 11 - cached);
    EXPECT_EQ(
        record.prompt_trace->layers[0].ids().front(),
        FakeModel::PicksOf(kLayer, request.prompt[cached], static_cast<int32_t>(cached)).ids[0]);
    EXPECT_EQ(record.candidates[0].finish->trace.tokens, 2u);
  }
}

TEST_F(EnginePrefixTest, TellsOfWhatItFound) {
  Start();
  const GenerateRequest request = Generate(Count(0, 11), 3);
  Computed(request);
  Computed(request);

  EXPECT_EQ(engine_->status().prefix_queried_tokens, 22);
  EXPECT_EQ(engine_->status().prefix_hit_tokens, 8);
  EXPECT_EQ(engine_->status().kv_blocks_cached, 3);
  EXPECT_EQ(observer_.requests()[1].cached_prompt_tokens, 8u);
  int64_t prompt = 0, hit = 0;
  for (const TokensEvent& event : observer_.tokens()) {
    prompt += event.prompt;
    hit += event.prefix_hit;
  }
  EXPECT_EQ(prompt, 11 + 3);
  EXPECT_EQ(hit, 8);
}

// Whatever a failed request has computed may be wrong from its first token on, though nobody saw it
// before a row was asked for.
TEST_F(EnginePrefixTest, NothingOfARequestThatFailedIsFound) {
  Start();
  model_->PoisonToken(26);
  GenerateRequest request = Generate(Count(0, 12), 2);
  request.prompt.push_back(26);
  EXPECT_EQ(Submit(request).sink->WaitDone().code(), absl::StatusCode::kInternal);
  ExpectNothingHeld();
  EXPECT_EQ(engine_->status().kv_blocks_cached, 0);

  EXPECT_EQ(Cached(Generate(Count(0, 12), 2)), 0u);
}

// Three requests of 4 + 36 positions beside a cache of 16 blocks of 4: two at most could be
// promised all that they need.
class EnginePreemptionTest : public EnginePrefixTest {
 protected:
  const FakeModelOptions kSmall = {
      .capacity = {.block_tokens = 4, .num_blocks = 16, .num_slots = 8, .max_step_tokens = 64}};
};

class EnginePreemptionWithAndWithoutCacheTest : public EnginePreemptionTest,
                                                public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(PrefixCache, EnginePreemptionWithAndWithoutCacheTest, ::testing::Bool());

TEST_P(EnginePreemptionWithAndWithoutCacheTest, NobodyCanTellThatARequestWasPutBack) {
  Start({.prefix_cache = GetParam(), .admission = Admission::kOptimistic}, kSmall);
  Computed(Generate({9}, 2));  // what is expected of the others is as short

  model_->ShutGate();
  std::vector<GenerateRequest> requests;
  std::vector<Call> calls;
  for (TokenId i = 0; i < 3; ++i) {
    GenerateRequest request = Generate(Count(5 * i, 4), 36);
    request.sampling.seed = i;
    request.alternatives = 1;
    request.prompt_logprobs = true;
    request.scheduling.priority = static_cast<int32_t>(i % 2);
    requests.push_back(request);
    calls.push_back(Submit(request));
  }
  model_->AwaitStep();
  model_->OpenGate();

  uint32_t preemptions = 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    ExpectReference(requests[i], *calls[i].sink);
    const RecordingSink::Record record = calls[i].sink->record();
    EXPECT_TRUE(record.prompt_logprobs == PromptLogprobsAlone(requests[i]));
    EXPECT_LE(record.timings.preemptions, i == 1 ? 2u : 1u);
    EXPECT_EQ(record.candidates.at(0).finish->timings.preemptions, record.timings.preemptions);
    preemptions += record.timings.preemptions;
  }
  EXPECT_GE(preemptions, 1u);
  EXPECT_EQ(calls[0].sink->record().timings.preemptions, 0u) << "the first of the highest priority";
  EXPECT_EQ(engine_->status().preemptions, preemptions);
  int64_t recomputed = 0, prompt = 0;
  for (const TokensEvent& event : observer_.tokens()) {
    recomputed += event.recomputed;
    prompt += event.prompt;
  }
  EXPECT_GT(recomputed, 0);
  EXPECT_EQ(prompt, 1 + 3 * 4) << "each once";
  ExpectNothingHeld();
}

TEST_F(EnginePreemptionTest, CandidatesAndScoresComeBackToTheSame) {
  Start({.max_batch_tokens = 7, .admission = Admission::kOptimistic}, kSmall);
  Computed(Generate({9}, 2));
  model_->ShutGate();
  GenerateRequest candidates = Generate(Count(0, 6), 12);
  candidates.candidates = 3;
  candidates.prompt_logprobs = true;
  const ScoreRequest score{.context = Count(2, 9),
                           .continuations = {Count(1, 9), {4}, Count(8, 6), Count(3, 12)},
                           .alternatives = 1};
  GenerateRequest single = Generate(Count(11, 3), 40);
  const Call first = Submit(single), second = Submit(candidates), third = Submit(score);
  const Call fourth = Submit(candidates);
  model_->AwaitStep();
  model_->OpenGate();

  ExpectReference(single, *first.sink);
  ExpectReference(candidates, *second.sink);
  ExpectReference(candidates, *fourth.sink);
  EXPECT_EQ(third.sink->WaitDone(), absl::OkStatus());
  RecordingSink::Record record = third.sink->record();
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(record.scores[i] == ScoreAlone(score)[i]);
  EXPECT_GE(engine_->status().preemptions, 1);
  ExpectNothingHeld();
}

TEST_F(EnginePreemptionTest, NothingThatRunsIsPutBackWhereAdmissionReserves) {
  Start({}, kSmall);
  Computed(Generate({9}, 2));
  std::vector<Call> calls;
  for (TokenId i = 0; i < 6; ++i) calls.push_back(Submit(Generate(Count(5 * i, 4), 36)));
  for (const Call& call : calls) {
    EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
    EXPECT_EQ(call.sink->record().timings.preemptions, 0u);
  }
  EXPECT_EQ(engine_->status().preemptions, 0);
}

}  // namespace
}  // namespace peerage
