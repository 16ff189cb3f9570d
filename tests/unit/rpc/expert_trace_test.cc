#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "model/experts/expert_usage.h"
#include "server/rpc/trace_answer.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

const std::vector<ExpertLayer> kTracedLayers = {
    {.layer = 0, .kind = ExpertLayerKind::kPeer, .num_experts = 50, .heads = 2, .top_k = 3},
    {.layer = 3,
     .kind = ExpertLayerKind::kProductKeyMemory,
     .num_experts = 9,
     .heads = 1,
     .top_k = 2}};

TestServerOptions WithTracedExperts() {
  TestServerOptions options;
  options.model.expert_layers = kTracedLayers;
  return options;
}

// The picks of tokens that follow each other from a position on.
struct TokenRun {
  std::vector<TokenId> tokens;
  int32_t first_position = 0;
};

// What a layer's trace of these runs must say.
void ExpectPicks(const v1::LayerTrace& trace, const ExpertLayer& layer,
                 const std::vector<TokenRun>& runs) {
  std::vector<uint32_t> ids;
  std::vector<float> scores;
  uint32_t tokens = 0;
  for (const TokenRun& run : runs) {
    for (size_t i = 0; i < run.tokens.size(); ++i, ++tokens) {
      const auto picks =
          FakeModel::PicksOf(layer, run.tokens[i], run.first_position + static_cast<int32_t>(i));
      ids.insert(ids.end(), picks.ids.begin(), picks.ids.end());
      scores.insert(scores.end(), picks.weights.begin(), picks.weights.end());
    }
  }
  EXPECT_EQ(trace.layer(), layer.layer);
  EXPECT_EQ(trace.num_experts(), layer.num_experts);
  EXPECT_EQ(trace.selections(), ids.size());
  std::map<uint32_t, double> score_of;
  double sum = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    score_of[ids[i]] += static_cast<double>(ExpertScore(scores[i])) * ExpertCount::kUnit;
    sum += static_cast<double>(ExpertScore(scores[i])) * ExpertCount::kUnit;
  }
  EXPECT_EQ(trace.distinct_experts(), score_of.size());
  double entropy = 0;
  double highest = 0;
  for (const auto& [id, score] : score_of) {
    if (score > 0) entropy -= score / sum * std::log(score / sum);
    highest = std::max(highest, score);
  }
  EXPECT_NEAR(trace.entropy_nats(), entropy, 1e-12);
  ASSERT_EQ(trace.top_expert_ids_size(), std::min<int>(16, score_of.size()));
  ASSERT_EQ(trace.top_expert_shares_size(), trace.top_expert_ids_size());
  for (int i = 0; i < trace.top_expert_ids_size(); ++i) {
    EXPECT_NEAR(trace.top_expert_shares(i), score_of[trace.top_expert_ids(i)] / sum, 1e-12);
    EXPECT_LE(trace.top_expert_shares(i), trace.top_expert_shares(std::max(i - 1, 0)));
  }
  EXPECT_NEAR(trace.top_expert_shares(0), highest / sum, 1e-12);
  if (trace.expert_ids().empty()) return;
  EXPECT_EQ(trace.tokens(), tokens);
  EXPECT_EQ(trace.heads(), layer.heads);
  EXPECT_EQ(trace.top_k(), layer.top_k);
  EXPECT_THAT(Values<uint32_t>(trace.expert_ids()), ElementsAreArray(ids));
  EXPECT_THAT(Values<float>(trace.scores()), ElementsAreArray(scores));
}

void ExpectTrace(const v1::ExpertTrace& trace, v1::ExpertTraceLevel level,
                 const std::vector<TokenRun>& runs) {
  ASSERT_EQ(trace.layers_size(), 2);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(trace.layers(i).expert_ids().empty(), level != v1::EXPERT_TRACE_LEVEL_FULL);
    ExpectPicks(trace.layers(i), kTracedLayers[i], runs);
  }
}

// All but the last: it is sampled, but not computed.
TokenRun Computed(const google::protobuf::RepeatedField<uint32_t>& ids, int32_t first_position) {
  return {{ids.begin(), ids.end() - 1}, first_position};
}

class ExpertTraceTest : public ::testing::TestWithParam<v1::ExpertTraceLevel> {};

INSTANTIATE_TEST_SUITE_P(Levels, ExpertTraceTest,
                         ::testing::Values(v1::EXPERT_TRACE_LEVEL_SUMMARY,
                                           v1::EXPERT_TRACE_LEVEL_FULL));

TEST_P(ExpertTraceTest, OfAGenerationIsThePromptOnceThenTheCandidatesInOrder) {
  for (const int32_t budget : {1, 3, 64}) {
    TestServerOptions options = WithTracedExperts();
    options.engine.max_batch_tokens = budget;
    TestServer server(options);
    for (const uint32_t candidates : {1, 3}) {
      v1::GenerateRequest request = GreedyRequest(7);
      request.mutable_prompt()->set_text("abcde");
      request.mutable_sampling()->set_temperature(1);
      request.mutable_sampling()->set_seed(5);
      request.mutable_sampling()->set_candidates(candidates);
      request.mutable_output()->set_expert_trace(GetParam());
      grpc::ClientContext context;
      v1::GenerateResponse response;
      ASSERT_TRUE(server.inference().Generate(&context, request, &response).ok());

      std::vector<TokenRun> runs = {{{1, 2, 3, 4, 5}, 0}};
      for (const v1::Candidate& candidate : response.candidates()) {
        runs.push_back(Computed(candidate.token_ids(), 5));
      }
      ExpectTrace(response.expert_trace(), GetParam(), runs);
    }
  }
}

TEST_P(ExpertTraceTest, OfAStreamComesWithTheFinishesAndThePromptWithTheFirst) {
  TestServer server(WithTracedExperts());
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(9);
  request.mutable_request()->mutable_sampling()->set_temperature(1);
  request.mutable_request()->mutable_sampling()->set_seed(3);
  request.mutable_request()->mutable_sampling()->set_candidates(4);
  request.mutable_request()->mutable_stopping()->set_ignore_eos(false);
  for (uint32_t id = 0; id < 12; ++id) {  // candidates end at different times
    request.mutable_request()->mutable_stopping()->add_stop_token_ids(id);
  }
  request.mutable_request()->mutable_output()->set_expert_trace(GetParam());
  grpc::ClientContext context;
  const auto reader = server.inference().GenerateStream(&context, request);
  std::map<uint32_t, std::vector<uint32_t>> tokens;
  int finished = 0;
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) {
    if (message.has_delta()) {
      auto& mine = tokens[message.delta().index()];
      mine.insert(mine.end(), message.delta().token_ids().begin(),
                  message.delta().token_ids().end());
    }
    if (!message.has_finished()) continue;
    const std::vector<uint32_t>& mine = tokens[message.finished().index()];
    std::vector<TokenRun> runs;
    if (finished++ == 0) runs.push_back({{1, 2}, 0});
    runs.push_back({{mine.begin(), mine.end() - 1}, 2});
    const bool any = runs.size() == 2 || mine.size() > 1;
    if (any) ExpectTrace(message.finished().expert_trace(), GetParam(), runs);
    EXPECT_TRUE(message.finished().has_expert_trace());
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(finished, 4);
}

TEST_P(ExpertTraceTest, OfAScoreIsTheContextThenTheContinuationsWithoutTheirLastTokens) {
  for (const int32_t budget : {1, 2, 64}) {
    TestServerOptions options = WithTracedExperts();
    options.engine.max_batch_tokens = budget;
    TestServer server(options);
    v1::ScoreRequest request;
    request.mutable_context()->set_text("abc");
    for (const char* text : {"dddd", "e", "fghi"}) request.add_continuations()->set_text(text);
    request.set_expert_trace(GetParam());
    const std::vector<TokenRun> runs = {{{1, 2, 3}, 0}, {{4, 4, 4}, 3}, {{6, 7, 8}, 3}};
    grpc::ClientContext context;
    v1::ScoreResponse response;
    ASSERT_TRUE(server.inference().Score(&context, request, &response).ok());
    ExpectTrace(response.expert_trace(), GetParam(), runs);

    grpc::ClientContext stream_context;
    const auto stream = server.inference().ScoreStream(&stream_context);
    v1::ScoreStreamRequest item;
    *item.mutable_request() = request;
    ASSERT_TRUE(stream->Write(item));
    stream->WritesDone();
    v1::ScoreStreamResponse answer;
    ASSERT_TRUE(stream->Read(&answer));
    ExpectTrace(answer.response().expert_trace(), GetParam(), runs);
    EXPECT_TRUE(stream->Finish().ok());
  }
}

// With one lane for both, the call would wait until its deadline.
TEST(ExpertTraceLaneTest, DoesNotWaitForASumOverManyExperts) {
  TestServer server(WithTracedExperts());
  absl::Notification summed;
  server.sums().Run([&] { summed.WaitForNotification(); });

  v1::GenerateRequest request = GreedyRequest(3);
  request.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, request, &response);
  summed.Notify();

  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.expert_trace().layers_size(), 2);
}

// Of a thousand continuations nothing is kept but their sums. (Some sanitizers' allocators do not
// tell what is in use.)
TEST(ExpertTraceMemoryTest, OfASummaryIsWhatWasPlannedHoweverManyParts) {
  const std::vector<ExpertLayer> layers = {
      {.layer = 1, .kind = ExpertLayerKind::kPeer, .num_experts = 4096, .heads = 8, .top_k = 16},
      {.layer = 5, .kind = ExpertLayerKind::kPeer, .num_experts = 4096, .heads = 8, .top_k = 16}};
  constexpr int kParts = 1024;
  constexpr int kPicks = 4096;
  std::vector<uint32_t> ids(kPicks);
  for (int i = 0; i < kPicks; ++i) ids[i] = static_cast<uint32_t>(i);
  const std::vector<float> weights(kPicks, 0.5f);
  TraceAnswer answer(ExpertTraceLevel::kSummary, layers);

  const size_t before = mallinfo2().uordblks;
  for (int part = 0; part < kParts; ++part) {
    ExpertTrace trace{.tokens = kPicks / 128,
                      .layers = std::vector<PickLog>(2, PickLog(/*keep_all=*/false))};
    for (PickLog& log : trace.layers) log.Append({.ids = ids, .weights = weights});
    answer.AddPart(part, std::move(trace));
  }
  const size_t held = mallinfo2().uordblks - before;

  EXPECT_LE(held, TraceBytes(layers));
  const v1::ExpertTrace trace = answer.ToProto();
  ASSERT_EQ(trace.layers_size(), 2);
  EXPECT_EQ(trace.layers(1).selections(), uint64_t{kParts} * kPicks);
  EXPECT_EQ(trace.layers(1).distinct_experts(), 4096);
}

TEST(ExpertTraceLimitsTest, IsEmptyWhereNothingWasComputed) {
  TestServer server(WithTracedExperts());
  v1::ScoreRequest request;
  request.mutable_context()->set_add_bos(false);
  request.add_continuations()->set_text("a");
  request.set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  grpc::ClientContext context;
  v1::ScoreResponse response;
  ASSERT_TRUE(server.inference().Score(&context, request, &response).ok());
  ASSERT_EQ(response.expert_trace().layers_size(), 2);
  EXPECT_EQ(response.expert_trace().layers(0).selections(), 0);
  EXPECT_EQ(response.expert_trace().layers(0).entropy_nats(), 0);
}

TEST(ExpertTraceLimitsTest, IsThereOnlyWhenItWasAskedFor) {
  TestServer server(WithTracedExperts());
  v1::GenerateRequest request = GreedyRequest(1);
  for (const auto level : {v1::EXPERT_TRACE_LEVEL_UNSPECIFIED, v1::EXPERT_TRACE_LEVEL_NONE}) {
    request.mutable_output()->set_expert_trace(level);
    grpc::ClientContext context;
    v1::GenerateResponse response;
    ASSERT_TRUE(server.inference().Generate(&context, request, &response).ok());
    EXPECT_FALSE(response.has_expert_trace());
  }
}

grpc::Status GenerateError(TestServer& server, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  v1::GenerateResponse response;
  return server.inference().Generate(&context, request, &response);
}

grpc::Status StreamError(TestServer& server, const v1::GenerateRequest& request) {
  v1::GenerateStreamRequest stream;
  *stream.mutable_request() = request;
  grpc::ClientContext context;
  const auto reader = server.inference().GenerateStream(&context, stream);
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) continue;
  return reader->Finish();
}

grpc::Status ScoreError(TestServer& server, const v1::ScoreRequest& request) {
  grpc::ClientContext context;
  v1::ScoreResponse response;
  return server.inference().Score(&context, request, &response);
}

TEST(ExpertTraceLimitsTest, OfALevelThatTheServerRefusesNamesTheFlag) {
  for (const ExpertTraceLevel allowed : {ExpertTraceLevel::kNone, ExpertTraceLevel::kSummary}) {
    TestServerOptions options = WithTracedExperts();
    options.trace_limits.level = allowed;
    TestServer server(options);
    const bool none = allowed == ExpertTraceLevel::kNone;
    const auto level = none ? v1::EXPERT_TRACE_LEVEL_SUMMARY : v1::EXPERT_TRACE_LEVEL_FULL;
    v1::GenerateRequest generate = GreedyRequest(1);
    generate.mutable_output()->set_expert_trace(level);
    v1::ScoreRequest score = SmallScoreRequest();
    score.set_expert_trace(level);
    for (const grpc::Status& status : {GenerateError(server, generate),
                                       StreamError(server, generate), ScoreError(server, score)}) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
      EXPECT_THAT(status.error_message(),
                  HasSubstr(none ? "--expert-trace=none" : "--expert-trace=summary"));
    }
  }
}

TEST(ExpertTraceLimitsTest, ThatMightOutgrowTheLimitIsRefusedBeforeAnythingRuns) {
  constexpr uint64_t kTokenBytes = (2 * 3 + 1 * 2) * 8;
  TestServerOptions options = WithTracedExperts();
  options.trace_limits.max_bytes = 10 * kTokenBytes;
  TestServer server(options);

  v1::GenerateRequest generate = GreedyRequest(5);  // 2 + 2 * 4 tokens
  generate.mutable_sampling()->set_candidates(2);
  generate.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  EXPECT_TRUE(GenerateError(server, generate).ok());
  EXPECT_TRUE(StreamError(server, generate).ok());
  v1::ScoreRequest score;  // 3 + 4 + 3 tokens
  score.mutable_context()->set_text("abc");
  score.add_continuations()->set_text("abcde");
  score.add_continuations()->set_text("abcd");
  score.set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  EXPECT_TRUE(ScoreError(server, score).ok());
  const int64_t computed = server.model().num_computed_tokens();

  generate.mutable_prompt()->set_text("abc");
  score.mutable_context()->set_text("abcd");
  for (const grpc::Status& status : {GenerateError(server, generate), StreamError(server, generate),
                                     ScoreError(server, score)}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
    EXPECT_THAT(status.error_message(), HasSubstr("704 bytes, the server's limit is 640"));
  }
  EXPECT_EQ(server.model().num_computed_tokens(), computed);

  generate.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_SUMMARY);
  EXPECT_TRUE(GenerateError(server, generate).ok());
}

}  // namespace
}  // namespace peerage
