#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

// One HiddenStates that an answer must have: of a sequence's tokens at these positions.
struct ExpectedStates {
  uint32_t layer = 0;
  std::optional<uint32_t> index;
  std::vector<TokenId> sequence;
  std::vector<uint32_t> positions;
};

void ExpectStates(const google::protobuf::RepeatedPtrField<v1::HiddenStates>& states,
                  const std::vector<ExpectedStates>& expected) {
  ASSERT_EQ(states.size(), static_cast<int>(expected.size()));
  for (int i = 0; i < states.size(); ++i) {
    SCOPED_TRACE(i);
    const ExpectedStates& wanted = expected[i];
    EXPECT_EQ(states[i].layer(), wanted.layer);
    EXPECT_EQ(states[i].has_index(), wanted.index.has_value());
    EXPECT_EQ(states[i].index(), wanted.index.value_or(0));
    EXPECT_THAT(states[i].positions(), ElementsAreArray(wanted.positions));
    EXPECT_EQ(states[i].hidden_size(), 3u);
    std::vector<float> values;
    for (const uint32_t position : wanted.positions) {
      const auto row =
          FakeModel::HiddenState(absl::MakeConstSpan(wanted.sequence).first(position + 1),
                                 static_cast<int32_t>(wanted.layer));
      values.insert(values.end(), row.begin(), row.end());
    }
    EXPECT_THAT(Values<float>(states[i].values()), ElementsAreArray(values));
  }
}

// "ab" with sampled tokens behind it.
std::vector<TokenId> SequenceOf(const google::protobuf::RepeatedField<uint32_t>& tokens) {
  std::vector<TokenId> sequence = {1, 2};
  sequence.insert(sequence.end(), tokens.begin(), tokens.end());
  return sequence;
}

v1::GenerateRequest SampledRequest(uint32_t max_tokens, uint32_t candidates) {
  v1::GenerateRequest request = GreedyRequest(max_tokens);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_seed(5);
  request.mutable_sampling()->set_candidates(candidates);
  return request;
}

void Want(v1::HiddenStatesRequest* wanted, std::vector<uint32_t> layers,
          std::vector<uint32_t> positions) {
  wanted->mutable_layers()->Assign(layers.begin(), layers.end());
  wanted->mutable_positions()->Assign(positions.begin(), positions.end());
}

TEST(HiddenStatesTest, OfAGenerationAreThePromptsThenTheCandidatesInOrder) {
  for (const int32_t budget : {1, 3, 64}) {
    TestServerOptions options;
    options.engine.max_batch_tokens = budget;
    TestServer server(options);
    v1::GenerateRequest request = SampledRequest(4, 3);
    Want(request.mutable_hidden_states(), {0, 2}, {1, 2, 4});
    grpc::ClientContext context;
    v1::GenerateResponse response;
    ASSERT_TRUE(server.inference().Generate(&context, request, &response).ok());

    std::vector<ExpectedStates> expected;
    for (const uint32_t layer : {0, 2}) expected.push_back({layer, std::nullopt, {1, 2}, {1}});
    for (const v1::Candidate& candidate : response.candidates()) {
      for (const uint32_t layer : {0, 2}) {
        expected.push_back({layer, candidate.index(), SequenceOf(candidate.token_ids()), {2, 4}});
      }
    }
    ExpectStates(response.hidden_states(), expected);
  }
}

// Of all that is generated there are as many rows as tokens, but for the last one.
TEST(HiddenStatesTest, OfAStreamComeWithTheFinishesAndThePromptsWithTheFirst) {
  TestServer server;
  v1::GenerateStreamRequest request;
  *request.mutable_request() = SampledRequest(9, 4);
  request.mutable_request()->mutable_stopping()->set_ignore_eos(false);
  for (uint32_t id = 0; id < 12; ++id) {  // candidates end at different times
    request.mutable_request()->mutable_stopping()->add_stop_token_ids(id);
  }
  v1::HiddenStatesRequest& wanted = *request.mutable_request()->mutable_hidden_states();
  Want(&wanted, {1}, {});
  wanted.set_prompt(true);
  wanted.set_generated(true);
  grpc::ClientContext context;
  const auto reader = server.inference().GenerateStream(&context, request);
  std::map<uint32_t, google::protobuf::RepeatedField<uint32_t>> tokens;
  int finished = 0;
  v1::GenerateStreamResponse message;
  while (reader->Read(&message)) {
    if (message.has_delta()) tokens[message.delta().index()].MergeFrom(message.delta().token_ids());
    if (!message.has_finished()) continue;
    const uint32_t index = message.finished().index();
    std::vector<ExpectedStates> expected;
    if (finished++ == 0) expected.push_back({1, std::nullopt, {1, 2}, {0, 1}});
    std::vector<uint32_t> positions;
    for (int i = 0; i + 1 < tokens[index].size(); ++i) positions.push_back(2 + i);
    if (!positions.empty()) expected.push_back({1, index, SequenceOf(tokens[index]), positions});
    ExpectStates(message.finished().hidden_states(), expected);
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(finished, 4);
}

TEST(HiddenStatesTest, OfAScoreAreTheContextsThenThoseOfContinuationsThatAreLongEnough) {
  for (const int32_t budget : {1, 2, 64}) {
    TestServerOptions options;
    options.engine.max_batch_tokens = budget;
    TestServer server(options);
    v1::ScoreRequest request;
    request.mutable_context()->set_text("abc");
    for (const char* text : {"dddd", "e", "fghi", "ab"})
      request.add_continuations()->set_text(text);
    Want(request.mutable_hidden_states(), {1, 2}, {0, 2, 4, 5});
    std::vector<ExpectedStates> expected;
    for (const uint32_t layer : {1, 2})
      expected.push_back({layer, std::nullopt, {1, 2, 3}, {0, 2}});
    for (const uint32_t layer : {1, 2})
      expected.push_back({layer, 0, {1, 2, 3, 4, 4, 4, 4}, {4, 5}});
    for (const uint32_t layer : {1, 2})
      expected.push_back({layer, 2, {1, 2, 3, 6, 7, 8, 9}, {4, 5}});
    grpc::ClientContext context;
    v1::ScoreResponse response;
    ASSERT_TRUE(server.inference().Score(&context, request, &response).ok());
    ExpectStates(response.hidden_states(), expected);

    grpc::ClientContext stream_context;
    const auto stream = server.inference().ScoreStream(&stream_context);
    v1::ScoreStreamRequest item;
    *item.mutable_request() = request;
    ASSERT_TRUE(stream->Write(item));
    stream->WritesDone();
    v1::ScoreStreamResponse answer;
    ASSERT_TRUE(stream->Read(&answer));
    ExpectStates(answer.response().hidden_states(), expected);
    EXPECT_TRUE(stream->Finish().ok());
  }
}

// The row after which a token is predicted is the same, whoever asks for it.
TEST(HiddenStatesTest, AScoreOfWhatWasGeneratedHasTheSame) {
  TestServer server;
  v1::GenerateRequest generate = SampledRequest(6, 1);
  Want(generate.mutable_hidden_states(), {0, 1, 2}, {0, 1, 2, 3, 4, 5, 6});
  grpc::ClientContext context;
  v1::GenerateResponse generated;
  ASSERT_TRUE(server.inference().Generate(&context, generate, &generated).ok());

  v1::ScoreRequest score;
  *score.mutable_context() = generate.prompt();
  *score.add_continuations()->mutable_token_ids()->mutable_ids() =
      generated.candidates(0).token_ids();
  *score.mutable_hidden_states() = generate.hidden_states();
  grpc::ClientContext score_context;
  v1::ScoreResponse scored;
  ASSERT_TRUE(server.inference().Score(&score_context, score, &scored).ok());
  ASSERT_EQ(scored.hidden_states_size(), 6);
  ASSERT_EQ(generated.hidden_states_size(), 6);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(scored.hidden_states(i).SerializeAsString(),
              generated.hidden_states(i).SerializeAsString());
  }
}

TEST(HiddenStatesTest, NoneComeWhereNothingIsComputed) {
  TestServer server;
  v1::ScoreRequest request;
  request.mutable_context()->set_add_bos(false);
  request.add_continuations()->set_text("a");
  request.mutable_hidden_states()->add_layers(1);
  request.mutable_hidden_states()->set_prompt(true);
  request.mutable_hidden_states()->set_generated(true);
  grpc::ClientContext context;
  v1::ScoreResponse response;
  ASSERT_TRUE(server.inference().Score(&context, request, &response).ok());
  EXPECT_EQ(response.hidden_states_size(), 0);

  Want(request.mutable_hidden_states(), {1}, {0});
  grpc::ClientContext other_context;
  const grpc::Status status = server.inference().Score(&other_context, request, &response);
  EXPECT_THAT(ViolatedFields(status), ElementsAre("hidden_states.positions[0]"));
}

// Nothing is computed for it, so there is nothing to report.
TEST(HiddenStatesTest, AreRefusedWhereGeneratedTokensEndTheText) {
  TestServer server;
  v1::GenerateRequest request = GreedyRequest(2);
  for (const uint32_t id : {5, 6}) request.mutable_generated_token_ids()->add_ids(id);
  Want(request.mutable_hidden_states(), {1}, {0});
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server.inference().Generate(&context, request, &response);
  EXPECT_THAT(ViolatedFields(status), ElementsAre("hidden_states"));
}

class HiddenStatesLimitTest : public ::testing::Test {
 protected:
  // Of one row: 3 values, and what says whose it is.
  static constexpr uint64_t kRowBytes = 3 * 4 + 32;
  static constexpr uint64_t kTokenTraceBytes = 2 * 3 * 8;

  HiddenStatesLimitTest() {
    options_.model.expert_layers = {{.num_experts = 50, .heads = 2, .top_k = 3}};
    generate_ = SampledRequest(5, 2);           // 2 + 2 * 4 tokens
    score_.mutable_context()->set_text("abc");  // 3 + 4 + 3 tokens
    score_.add_continuations()->set_text("abcde");
    score_.add_continuations()->set_text("abcd");
    for (v1::HiddenStatesRequest* wanted :
         {generate_.mutable_hidden_states(), score_.mutable_hidden_states()}) {
      wanted->add_layers(0);
      wanted->add_layers(1);
      wanted->set_prompt(true);
      wanted->set_generated(true);
    }
  }

  std::vector<grpc::Status> Answers(TestServer& server) const {
    std::vector<grpc::Status> answers;
    {
      grpc::ClientContext context;
      v1::GenerateResponse response;
      answers.push_back(server.inference().Generate(&context, generate_, &response));
    }
    {
      grpc::ClientContext context;
      v1::GenerateStreamRequest request;
      *request.mutable_request() = generate_;
      const auto reader = server.inference().GenerateStream(&context, request);
      v1::GenerateStreamResponse message;
      while (reader->Read(&message)) continue;
      answers.push_back(reader->Finish());
    }
    grpc::ClientContext context;
    v1::ScoreResponse response;
    answers.push_back(server.inference().Score(&context, score_, &response));
    return answers;
  }

  TestServerOptions options_;
  v1::GenerateRequest generate_;
  v1::ScoreRequest score_;
};

TEST_F(HiddenStatesLimitTest, WhatMightOutgrowItIsRefusedBeforeAnythingRuns) {
  options_.trace_limits.max_bytes = 2 * 10 * kRowBytes;
  TestServer server(options_);
  for (const grpc::Status& status : Answers(server)) {
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  const int64_t computed = server.model().num_computed_tokens();

  generate_.mutable_prompt()->set_text("abc");
  score_.mutable_context()->set_text("abcd");
  for (const grpc::Status& status : Answers(server)) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
    EXPECT_THAT(status.error_message(),
                HasSubstr("hidden_states: 11 tokens in 2 layers could take 968 bytes, 44 each, the "
                          "server's limit is 880 (--max-trace-mib)"));
  }
  EXPECT_EQ(server.model().num_computed_tokens(), computed);
}

// One limit for both: an answer is one message.
TEST_F(HiddenStatesLimitTest, IsSharedWithAFullTrace) {
  generate_.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  score_.set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  options_.trace_limits.max_bytes = 2 * 10 * kRowBytes + 10 * kTokenTraceBytes;
  {
    TestServer server(options_);
    for (const grpc::Status& status : Answers(server)) {
      EXPECT_TRUE(status.ok()) << status.error_message();
    }
  }
  --options_.trace_limits.max_bytes;
  TestServer server(options_);
  for (const grpc::Status& status : Answers(server)) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
    EXPECT_THAT(status.error_message(), HasSubstr("44 each, beside 480 of the trace"));
  }
  EXPECT_EQ(server.model().num_computed_tokens(), 0);
}

}  // namespace
}  // namespace peerage
