// What answers and status say of the prefix cache. Blocks have four tokens here.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

v1::GenerateRequest Eleven(const std::string& salt = "") {
  v1::GenerateRequest request = GreedyRequest(3);
  request.mutable_prompt()->set_text("abcdefghijk");
  request.mutable_scheduling()->set_cache_salt(salt);
  return request;
}

v1::GenerateResponse AnswerTo(TestServer& server, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

TEST(CachedPrefixTest, AnswersAreTheSameAndSayWhatWasCached) {
  TestServer server;
  const v1::GenerateResponse first = AnswerTo(server, Eleven());
  const v1::GenerateResponse second = AnswerTo(server, Eleven());

  EXPECT_EQ(first.usage().cached_prompt_tokens(), 0);
  EXPECT_EQ(second.usage().cached_prompt_tokens(), 8);
  EXPECT_EQ(second.usage().prompt_tokens(), 11);
  EXPECT_EQ(second.candidates(0).text(), first.candidates(0).text());
  EXPECT_EQ(second.timings().preemptions(), 0);
}

TEST(CachedPrefixTest, SaltsShareNothing) {
  TestServer server;
  AnswerTo(server, Eleven());
  EXPECT_EQ(AnswerTo(server, Eleven("salt")).usage().cached_prompt_tokens(), 0);
  EXPECT_EQ(AnswerTo(server, Eleven("salt")).usage().cached_prompt_tokens(), 8);
}

TEST(CachedPrefixTest, AStreamSaysItAtItsStartAndInTheFirstFinish) {
  TestServer server;
  AnswerTo(server, Eleven());
  v1::GenerateStreamRequest request;
  *request.mutable_request() = Eleven();
  request.mutable_request()->mutable_sampling()->set_candidates(2);
  grpc::ClientContext context;
  const auto stream = server.inference().GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  uint32_t in_started = 0, in_finished = 0;
  while (stream->Read(&message)) {
    if (message.has_started()) in_started = message.started().cached_prompt_tokens();
    in_finished += message.finished().usage().cached_prompt_tokens();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(in_started, 8);
  EXPECT_EQ(in_finished, 8);
}

TEST(CachedPrefixTest, ScoreSaysWhatOfItsContextWasCached) {
  TestServer server;
  v1::ScoreRequest request = SmallScoreRequest();
  request.mutable_context()->set_text("abcdefghijkl");
  v1::ScoreResponse first, second;
  for (v1::ScoreResponse* response : {&first, &second}) {
    grpc::ClientContext context;
    EXPECT_TRUE(server.inference().Score(&context, request, response).ok());
  }
  EXPECT_EQ(first.usage().cached_prompt_tokens(), 0);
  EXPECT_EQ(second.usage().cached_prompt_tokens(), 8);
  EXPECT_EQ(second.scores(0).logprob(), first.scores(0).logprob());
}

TEST(CachedPrefixTest, ATraceSaysWhichTokensItIsWithout) {
  TestServerOptions options;
  options.model.expert_layers = {
      {.kind = ExpertLayerKind::kPeer, .num_experts = 50, .heads = 2, .top_k = 3}};
  TestServer server(options);
  AnswerTo(server, Eleven());
  v1::GenerateRequest request = Eleven();
  request.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_SUMMARY);
  const v1::ExpertTrace trace = AnswerTo(server, request).expert_trace();

  EXPECT_EQ(trace.cached_tokens(), 8);
  EXPECT_EQ(trace.layers(0).selections(), (3 + 2) * 6) << "of prompt and answer less its last one";
}

TEST(CachedPrefixTest, AStreamsTraceSaysSoInEachFinish) {
  TestServerOptions options;
  options.model.expert_layers = {
      {.kind = ExpertLayerKind::kPeer, .num_experts = 50, .heads = 2, .top_k = 3}};
  TestServer server(options);
  AnswerTo(server, Eleven());
  v1::GenerateStreamRequest request;
  *request.mutable_request() = Eleven();
  request.mutable_request()->mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  grpc::ClientContext context;
  const auto stream = server.inference().GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  uint32_t cached = 0, traced = 0;
  while (stream->Read(&message)) {
    cached += message.finished().expert_trace().cached_tokens();
    if (message.has_finished()) traced = message.finished().expert_trace().layers(0).tokens();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(cached, 8);
  EXPECT_EQ(traced, 3 + 2);
}

TEST(CachedPrefixTest, AScoreStreamSaysItOfEachItem) {
  TestServer server;
  v1::ScoreStreamRequest request;
  *request.mutable_request() = SmallScoreRequest();
  request.mutable_request()->mutable_context()->set_text("abcdefghijkl");
  grpc::ClientContext context;
  const auto stream = server.inference().ScoreStream(&context);
  v1::ScoreStreamResponse response;
  for (const uint32_t cached : {0, 8}) {
    ASSERT_TRUE(stream->Write(request) && stream->Read(&response));
    EXPECT_EQ(response.response().usage().cached_prompt_tokens(), cached);
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(CachedPrefixTest, StatusAddsItUp) {
  TestServer server;
  for (int i = 0; i < 3; ++i) AnswerTo(server, Eleven());

  grpc::ClientContext context;
  v1::GetServerStatusResponse status;
  ASSERT_TRUE(server.admin().GetServerStatus(&context, {}, &status).ok());
  EXPECT_EQ(status.workers(0).prefix_cache_query_tokens(), 33);
  EXPECT_EQ(status.workers(0).prefix_cache_hit_tokens(), 16);
  EXPECT_EQ(status.workers(0).kv_blocks_cached(), 3);
  EXPECT_EQ(status.workers(0).kv_blocks_free(), status.workers(0).kv_blocks_total());
  EXPECT_EQ(status.workers(0).preemptions(), 0);
}

}  // namespace
}  // namespace peerage
