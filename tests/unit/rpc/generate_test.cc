#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "model/tokenizer/detokenizer.h"
#include "server/rpc/generate_stream_call.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// "ab" and what the model says after it, greedily.
std::vector<TokenId> GreedyTokens(int count) {
  std::vector<TokenId> history = {FakeTokenizer::Letter('a'), FakeTokenizer::Letter('b')};
  SamplingParams greedy;
  greedy.temperature = 0;
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(FakeModel::NextToken(history, greedy, 0, i));
    history.push_back(tokens.back());
  }
  return tokens;
}

v1::GenerateResponse GenerateOrDie(TestServer& server, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

grpc::Status StreamToEnd(TestServer& server, const v1::GenerateStreamRequest& request,
                         std::vector<v1::GenerateStreamResponse>& messages) {
  grpc::ClientContext context;
  const auto reader = server.inference().GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) messages.push_back(message);
  return reader->Finish();
}

TEST(GenerateTest, AnswersWithWhatTheModelSaysAndWhatWasUsed) {
  TestServer server;
  const v1::GenerateResponse response = GenerateOrDie(server, GreedyRequest(5));

  ASSERT_EQ(response.candidates_size(), 1);
  const v1::Candidate& candidate = response.candidates(0);
  EXPECT_THAT(candidate.token_ids(), ElementsAreArray(GreedyTokens(5)));
  EXPECT_EQ(candidate.text(), Detokenize(FakeTokenizer(), GreedyTokens(5), false));
  EXPECT_THAT(candidate.logprobs(), IsEmpty());
  EXPECT_EQ(candidate.finish().reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(response.usage().prompt_tokens(), 2);
  EXPECT_EQ(response.usage().completion_tokens(), 5);
  EXPECT_EQ(response.model().name(), "fake");
  EXPECT_THAT(response.request_id(), SizeIs(32));
  EXPECT_TRUE(response.has_timings());
  EXPECT_FALSE(response.has_expert_trace());
}

TEST(GenerateTest, EchoesEveryDefault) {
  TestServer server;
  v1::GenerateRequest request;
  request.mutable_prompt()->set_text(std::string(200, 'a'));
  request.mutable_stopping()->set_ignore_eos(true);
  const v1::ResolvedSampling sampling = GenerateOrDie(server, request).sampling();

  EXPECT_EQ(sampling.temperature(), 1);
  EXPECT_EQ(sampling.top_k(), 0);
  EXPECT_EQ(sampling.top_p(), 1);
  EXPECT_EQ(sampling.min_p(), 0);
  EXPECT_EQ(sampling.candidates(), 1);
  EXPECT_EQ(sampling.repetition_penalty(), 1);
  EXPECT_EQ(sampling.frequency_penalty(), 0);
  EXPECT_EQ(sampling.presence_penalty(), 0);
  EXPECT_EQ(sampling.max_tokens(), 56) << "what the context of 256 leaves";
}

TEST(GenerateTest, ReportsASeedThatGivesTheSameTokensAgain) {
  TestServer server;
  v1::GenerateRequest request = GreedyRequest(16);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_candidates(2);
  const v1::GenerateResponse first = GenerateOrDie(server, request);
  const v1::GenerateResponse other = GenerateOrDie(server, request);
  EXPECT_NE(first.sampling().seed(), other.sampling().seed());

  request.mutable_sampling()->set_seed(first.sampling().seed());
  const v1::GenerateResponse again = GenerateOrDie(server, request);
  ASSERT_EQ(again.candidates_size(), 2);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(again.candidates(i).index(), i);
    EXPECT_THAT(again.candidates(i).token_ids(), ElementsAreArray(first.candidates(i).token_ids()));
  }
  EXPECT_EQ(again.usage().completion_tokens(), 32);
}

TEST(GenerateTest, ReportsLogProbabilitiesOfPromptAndAnswer) {
  TestServer server;
  v1::GenerateRequest request = GreedyRequest(3);
  request.mutable_output()->set_logprobs(2);
  request.mutable_output()->set_prompt_logprobs(true);
  const v1::GenerateResponse response = GenerateOrDie(server, request);

  ASSERT_EQ(response.prompt_logprobs_size(), 2);
  EXPECT_FALSE(response.prompt_logprobs(0).has_logprob()) << "nothing stands before it";
  const TokenId a = FakeTokenizer::Letter('a');
  const TokenId b = FakeTokenizer::Letter('b');
  EXPECT_EQ(response.prompt_logprobs(1).logprob(), FakeModel::Logprob({a}, b));

  ASSERT_EQ(response.candidates(0).logprobs_size(), 3);
  const v1::TokenLogprob& first = response.candidates(0).logprobs(0);
  EXPECT_EQ(first.token_id(), response.candidates(0).token_ids(0));
  EXPECT_EQ(first.logprob(), FakeModel::Logprob({a, b}, first.token_id()));
  EXPECT_EQ(first.rank(), FakeModel::Rank({a, b}, first.token_id()));
  EXPECT_THAT(first.alternative_ids(), SizeIs(2));
  EXPECT_THAT(first.alternative_logprobs(), ElementsAre(-0.125f, -0.25f));
}

TEST(GenerateTest, NamesTheStopTokenThatMatched) {
  TestServer server;
  v1::GenerateRequest request = GreedyRequest(8);
  const TokenId third = GreedyTokens(8)[2];
  request.mutable_stopping()->add_stop_token_ids(third);
  const v1::Candidate candidate = GenerateOrDie(server, request).candidates(0);

  EXPECT_EQ(candidate.finish().reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(candidate.finish().stop_token_id(), third);
}

TEST(GenerateTest, ATraceOfADenseModelHasNoLayers) {
  TestServer server;
  v1::GenerateRequest request = GreedyRequest(1);
  request.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_SUMMARY);
  const v1::GenerateResponse response = GenerateOrDie(server, request);
  EXPECT_TRUE(response.has_expert_trace());
  EXPECT_THAT(response.expert_trace().layers(), IsEmpty());
}

// It would be lost after all the work.
TEST(GenerateTest, RefusesATextThatMayBecomeLargerThanAMessage) {
  TestServer server({.model = {.capacity = {.block_tokens = 64,
                                            .num_blocks = 8192,
                                            .num_slots = 16,
                                            .max_step_tokens = 64},
                               .context_length = 32'768}});
  v1::GenerateRequest request = GreedyRequest(30'000);
  request.mutable_sampling()->set_candidates(16);

  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(status.error_message(),
            "the text of 480000 tokens could take 5280000 bytes, the limit of an answer is "
            "4194304: ask for fewer tokens, or as a stream");
  EXPECT_EQ(server.model().num_computed_tokens(), 0);
}

TEST(GenerateTest, RefusesAnAnswerThatNoClientWouldAccept) {
  TestServer server({.model = {.capacity = {.block_tokens = 64,
                                            .num_blocks = 8192,
                                            .num_slots = 16,
                                            .max_step_tokens = 64},
                               .context_length = 32'768}});
  v1::GenerateRequest request = GreedyRequest(30'000);
  request.mutable_sampling()->set_candidates(16);
  request.mutable_output()->set_logprobs(20);

  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE) << status.error_message();
}

TEST(GenerateTest, AFailureOfTheModelEndsThatRequestAlone) {
  TestServer server;
  server.model().PoisonToken(FakeTokenizer::Letter('z'));
  v1::GenerateRequest request = GreedyRequest(4);
  request.mutable_prompt()->set_text("z");

  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  server.ExpectHealthy();
  server.AwaitIdle();
}

TEST(GenerateTest, TakesTheRequestIdFromTheClientAndEchoesIt) {
  TestServer server;
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "my id-1");
  v1::GenerateResponse response;
  ASSERT_TRUE(server.inference().Generate(&context, GreedyRequest(1), &response).ok());

  EXPECT_EQ(response.request_id(), "my id-1");
  const auto& metadata = context.GetServerInitialMetadata();
  const auto echoed = metadata.find("x-request-id");
  ASSERT_NE(echoed, metadata.end());
  EXPECT_EQ(echoed->second, "my id-1");
}

TEST(GenerateTest, RefusesARequestIdThatIsEmptyTooLongOrGivenTwice) {
  TestServer server;
  const std::vector<std::vector<std::string>> bad = {{""}, {std::string(129, 'x')}, {"a", "b"}};
  for (const std::vector<std::string>& ids : bad) {
    grpc::ClientContext context;
    for (const std::string& id : ids) context.AddMetadata("x-request-id", id);
    v1::GenerateResponse response;
    const grpc::Status status = server.inference().Generate(&context, GreedyRequest(1), &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(ViolatedFields(status), ElementsAre("x-request-id"));
  }
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", std::string(128, 'x'));
  v1::GenerateResponse response;
  EXPECT_TRUE(server.inference().Generate(&context, GreedyRequest(1), &response).ok());
}

TEST(GenerateTest, ADeadlineByTheEnginesClockEndsTheCall) {
  TestServer server;
  server.model().ShutGate();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::hours(1));
  grpc::Status status;
  std::thread call([&] {
    v1::GenerateResponse response;
    status = server.inference().Generate(&context, GreedyRequest(100), &response);
  });
  server.model().AwaitStep();
  server.clock().Advance(absl::Hours(2));
  server.model().OpenGate();
  call.join();

  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  server.AwaitIdle();
}

// In std::chrono's clocks such a deadline is past.
TEST(GenerateTest, ADeadlineInCenturiesIsStillToCome) {
  TestServer server;
  for (const int64_t hours : {int64_t{100} * 8766, int64_t{400} * 8766, int64_t{99'999'999}}) {
    grpc::ClientContext context;
    context.set_deadline(
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_hours(hours, GPR_TIMESPAN)));
    v1::GenerateResponse response;
    const grpc::Status status = server.inference().Generate(&context, GreedyRequest(1), &response);
    EXPECT_TRUE(status.ok()) << hours << " h: " << status.error_message();
  }
}

TEST(GenerateTest, AFullQueueAsksTheClientToComeBackLater) {
  TestServer server({.engine = {.max_sequences = 1, .max_queued_requests = 1}});
  server.model().ShutGate();
  v1::GenerateStreamRequest stream_request;
  *stream_request.mutable_request() = GreedyRequest(2);
  grpc::ClientContext running_context;
  const auto running = server.inference().GenerateStream(&running_context, stream_request);
  server.model().AwaitStep();
  grpc::ClientContext waiting_context;
  const auto waiting = server.inference().GenerateStream(&waiting_context, stream_request);
  while (server.engine().status().requests_waiting == 0) std::this_thread::yield();

  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, GreedyRequest(1), &response);
  server.model().OpenGate();

  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_TRUE(std::any_of(details.details().begin(), details.details().end(),
                          [](const auto& d) { return d.template Is<google::rpc::RetryInfo>(); }));
  v1::GenerateStreamResponse message;
  while (running->Read(&message)) continue;
  while (waiting->Read(&message)) continue;
  EXPECT_TRUE(running->Finish().ok());
  EXPECT_TRUE(waiting->Finish().ok());
}

TEST(GenerateStreamTest, StreamsWhatGenerateAnswers) {
  TestServer server;
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(6);
  std::vector<v1::GenerateStreamResponse> messages;
  ASSERT_TRUE(StreamToEnd(server, request, messages).ok());

  ASSERT_THAT(messages, SizeIs(8)) << "started, six deltas, finished";
  const v1::Started& started = messages.front().started();
  EXPECT_THAT(started.request_id(), SizeIs(32));
  EXPECT_EQ(started.prompt_tokens(), 2);
  EXPECT_EQ(started.sampling().max_tokens(), 6);
  EXPECT_EQ(started.model().name(), "fake");
  std::string text;
  std::vector<TokenId> tokens;
  for (size_t i = 1; i + 1 < messages.size(); ++i) {
    text += messages[i].delta().text();
    tokens.insert(tokens.end(), messages[i].delta().token_ids().begin(),
                  messages[i].delta().token_ids().end());
  }
  EXPECT_EQ(tokens, GreedyTokens(6));
  EXPECT_EQ(text, GenerateOrDie(server, GreedyRequest(6)).candidates(0).text());
  const v1::Finished& finished = messages.back().finished();
  EXPECT_EQ(finished.finish().reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(finished.usage().prompt_tokens(), 2);
  EXPECT_EQ(finished.usage().completion_tokens(), 6);
  EXPECT_TRUE(finished.has_timings());
}

TEST(GenerateStreamTest, GathersTokensButSendsTheFirstAtOnce) {
  TestServer server;
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(9);
  request.set_tokens_per_message(3);
  std::vector<v1::GenerateStreamResponse> messages;
  ASSERT_TRUE(StreamToEnd(server, request, messages).ok());

  std::vector<int> sizes;
  for (const auto& message : messages) {
    if (message.has_delta()) sizes.push_back(message.delta().token_ids_size());
  }
  EXPECT_THAT(sizes, ElementsAre(1, 3, 3, 2));
}

TEST(GenerateStreamTest, FinishesEachCandidateOnceAndCountsThePromptOnce) {
  TestServer server;
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(4);
  request.mutable_request()->mutable_sampling()->set_candidates(3);
  request.mutable_request()->mutable_sampling()->set_temperature(1);
  request.mutable_request()->mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  std::vector<v1::GenerateStreamResponse> messages;
  ASSERT_TRUE(StreamToEnd(server, request, messages).ok());

  std::vector<int> finished(3), tokens(3), prompt_tokens;
  for (const auto& message : messages) {
    if (message.has_delta()) {
      EXPECT_EQ(finished[message.delta().index()], 0) << "a delta after the finish";
      tokens[message.delta().index()] += message.delta().token_ids_size();
    }
    if (!message.has_finished()) continue;
    ++finished[message.finished().index()];
    prompt_tokens.push_back(message.finished().usage().prompt_tokens());
    EXPECT_TRUE(message.finished().has_expert_trace());
  }
  EXPECT_THAT(finished, ElementsAre(1, 1, 1));
  EXPECT_THAT(tokens, ElementsAre(4, 4, 4));
  EXPECT_THAT(prompt_tokens, ElementsAre(2, 0, 0));
}

TEST(GenerateStreamTest, SendsPromptLogprobsAfterStarted) {
  TestServer server;
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(1);
  request.mutable_request()->mutable_output()->set_prompt_logprobs(true);
  std::vector<v1::GenerateStreamResponse> messages;
  ASSERT_TRUE(StreamToEnd(server, request, messages).ok());

  EXPECT_TRUE(messages[0].has_started());
  std::vector<TokenId> tokens;
  for (size_t i = 1; messages[i].has_prompt_logprobs(); ++i) {
    const v1::PromptLogprobs& part = messages[i].prompt_logprobs();
    EXPECT_EQ(part.first_position(), tokens.size());
    for (const v1::TokenLogprob& token : part.tokens()) tokens.push_back(token.token_id());
  }
  EXPECT_THAT(tokens, ElementsAre(FakeTokenizer::Letter('a'), FakeTokenizer::Letter('b')));
}

TEST(GenerateStreamTest, ACancelledCallGivesItsBlocksBack) {
  TestServer server;
  server.model().ShutGate();
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(250);
  grpc::ClientContext context;
  const auto reader = server.inference().GenerateStream(&context, request);
  server.model().LetStepThrough();
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(reader->Read(&message));
  server.model().AwaitStep();
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  server.model().OpenGate();

  server.AwaitIdle();
  EXPECT_EQ(server.model().num_open_slots(), 0);
  server.ExpectHealthy();
}

// Room for a long answer.
TestServerOptions LongContext() {
  return {.model = {.capacity = {.block_tokens = 16,
                                 .num_blocks = 128,
                                 .num_slots = 16,
                                 .max_step_tokens = 64},
                    .context_length = 2048}};
}

// Waits until the engine has put the only stream aside: it has computed the prompt and fed back
// every token of the full queue but the last.
void AwaitParked(TestServer& server) {
  const int64_t computed = 2 + GenerateStreamCall::kMaxQueuedTokens - 1;
  while (server.model().num_computed_tokens() < computed) std::this_thread::yield();
}

TEST(GenerateStreamTest, ASlowReaderStillGetsEverything) {
  TestServer server(LongContext());
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(1500);
  grpc::ClientContext context;
  const auto reader = server.inference().GenerateStream(&context, request);
  AwaitParked(server);
  EXPECT_EQ(server.engine().status().requests_running, 1);

  int tokens = 0;
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) tokens += message.delta().token_ids_size();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, 1500);
  server.AwaitIdle();
}

TEST(GenerateStreamTest, AReaderThatStaysAwayIsGivenUp) {
  TestServer server(LongContext());
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(1500);
  grpc::ClientContext context;
  const auto reader = server.inference().GenerateStream(&context, request);
  AwaitParked(server);
  while (server.engine().status().requests_running > 0) {
    server.clock().Advance(absl::Seconds(1));
    server.engine().Wake();
    std::this_thread::yield();
  }

  int tokens = 0;
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) tokens += message.delta().token_ids_size();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(tokens, GenerateStreamCall::kMaxQueuedTokens);
  server.AwaitIdle();
}

}  // namespace
}  // namespace peerage
