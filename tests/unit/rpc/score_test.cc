#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::SizeIs;

constexpr TokenId kLetterA = FakeTokenizer::Letter('a');
constexpr TokenId kB = FakeTokenizer::Letter('b');

v1::ScoreResponse ScoreOrDie(TestServer& server, const v1::ScoreRequest& request) {
  grpc::ClientContext context;
  v1::ScoreResponse response;
  const grpc::Status status = server.inference().Score(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

TEST(ScoreTest, SumsTheLogProbabilitiesOfEachContinuation) {
  TestServer server;
  v1::ScoreRequest request;
  request.mutable_context()->set_text("ab");
  request.add_continuations()->set_text("ab");
  request.add_continuations()->set_text("b");
  request.set_logprobs(3);
  const v1::ScoreResponse response = ScoreOrDie(server, request);

  ASSERT_EQ(response.scores_size(), 2);
  const double first = FakeModel::Logprob({kLetterA, kB}, kLetterA);
  const double second = FakeModel::Logprob({kLetterA, kB, kLetterA}, kB);
  EXPECT_EQ(response.scores(0).logprob(), first + second);
  EXPECT_DOUBLE_EQ(response.scores(0).bits_per_byte(), -(first + second) / (std::log(2.0) * 2));
  ASSERT_EQ(response.scores(0).tokens_size(), 2);
  EXPECT_THAT(response.scores(0).tokens(1).alternative_ids(), SizeIs(3));
  EXPECT_EQ(response.scores(1).logprob(), FakeModel::Logprob({kLetterA, kB}, kB));
  EXPECT_EQ(response.usage().prompt_tokens(), 2);
  EXPECT_EQ(response.usage().completion_tokens(), 3);
  EXPECT_EQ(response.model().name(), "fake");
  EXPECT_THAT(response.request_id(), SizeIs(32));
}

TEST(ScoreTest, CallsAContinuationGreedyWhenEveryTokenIsTheMostLikely) {
  TestServer server;
  v1::ScoreRequest request;
  request.mutable_context()->set_text("ab");
  for (TokenId token = 0; token < FakeTokenizer::kVocabSize; ++token) {
    request.add_continuations()->mutable_token_ids()->add_ids(token);
  }
  const v1::ScoreResponse response = ScoreOrDie(server, request);

  int greedy = 0;
  for (TokenId token = 0; token < FakeTokenizer::kVocabSize; ++token) {
    EXPECT_EQ(response.scores(token).is_greedy(), FakeModel::Rank({kLetterA, kB}, token) == 1)
        << token;
    greedy += response.scores(token).is_greedy();
  }
  EXPECT_GT(greedy, 0);
  EXPECT_LT(greedy, FakeTokenizer::kVocabSize);
}

TEST(ScoreTest, PutsBosBeforeAnEmptyContextUnlessToldNotTo) {
  TestServer server;
  v1::ScoreRequest request;
  request.add_continuations()->set_text("ab");
  const v1::ScoreResponse with_bos = ScoreOrDie(server, request);
  EXPECT_EQ(with_bos.usage().prompt_tokens(), 1);
  EXPECT_EQ(with_bos.scores(0).tokens(0).logprob(),
            FakeModel::Logprob({FakeTokenizer::kBos}, kLetterA));

  request.mutable_context()->set_add_bos(false);
  const v1::ScoreResponse without = ScoreOrDie(server, request);
  EXPECT_EQ(without.usage().prompt_tokens(), 0);
  ASSERT_EQ(without.scores(0).tokens_size(), 2);
  EXPECT_FALSE(without.scores(0).tokens(0).has_logprob());
  EXPECT_EQ(without.scores(0).logprob(), FakeModel::Logprob({kLetterA}, kB));
  EXPECT_DOUBLE_EQ(without.scores(0).bits_per_byte(),
                   -double{FakeModel::Logprob({kLetterA}, kB)} / std::log(2.0));
}

TEST(ScoreTest, AnswersTheMostContinuationsThatARequestMayHave) {
  TestServer server;
  v1::ScoreRequest request;
  request.mutable_context()->set_text("ab");
  for (int i = 0; i < 1024; ++i) request.add_continuations()->mutable_token_ids()->add_ids(i % 32);
  const v1::ScoreResponse response = ScoreOrDie(server, request);
  ASSERT_EQ(response.scores_size(), 1024);
  for (TokenId i = 0; i < 1024; ++i) {
    ASSERT_EQ(response.scores(i).logprob(), FakeModel::Logprob({kLetterA, kB}, i % 32)) << i;
  }
  server.AwaitIdle();
}

TEST(ScoreStreamTest, AnswersEveryItemUnderItsId) {
  TestServer server;
  grpc::ClientContext context;
  const auto stream = server.inference().ScoreStream(&context);
  constexpr int kItems = 200;  // many windows
  std::thread writer([&] {
    for (int i = 0; i < kItems; ++i) {
      v1::ScoreStreamRequest request;
      request.set_id(absl::StrCat(i));
      *request.mutable_request() = SmallScoreRequest();
      request.mutable_request()->mutable_continuations(0)->mutable_token_ids()->add_ids(i % 32);
      EXPECT_TRUE(stream->Write(request));
    }
    stream->WritesDone();
  });

  std::set<std::string> ids;
  v1::ScoreStreamResponse answer;
  while (stream->Read(&answer)) {
    EXPECT_TRUE(ids.insert(answer.id()).second) << "answered twice: " << answer.id();
    ASSERT_TRUE(answer.has_response()) << answer.error().message();
    const TokenId token = std::stoi(answer.id()) % 32;
    EXPECT_EQ(answer.response().scores(0).logprob(), FakeModel::Logprob({kLetterA, kB}, token));
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(ids, SizeIs(kItems));
  server.AwaitIdle();
}

TEST(ScoreStreamTest, GoesOnAfterAnItemThatFails) {
  TestServer server;
  grpc::ClientContext context;
  const auto stream = server.inference().ScoreStream(&context);
  v1::ScoreStreamRequest bad;
  bad.set_id("bad");
  v1::ScoreStreamResponse answer;
  ASSERT_TRUE(stream->Write(bad));
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), "bad");
  EXPECT_EQ(answer.error().code(), static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT));
  EXPECT_EQ(answer.error().message(), "request.continuations must have 1 to 1024 entries");

  v1::ScoreStreamRequest good;
  good.set_id("good");
  *good.mutable_request() = SmallScoreRequest();
  ASSERT_TRUE(stream->Write(good));
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), "good");
  EXPECT_TRUE(answer.has_response());
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(ScoreStreamTest, EndsWithAnErrorAtAnItemThatIsNoValidMessage) {
  TestServer server;
  grpc::ClientContext context;
  const auto stream = server.inference().ScoreStream(&context);
  v1::ScoreStreamRequest request;
  request.set_id("before");
  *request.mutable_request() = SmallScoreRequest();
  ASSERT_TRUE(stream->Write(request));
  request.set_id("\xff");  // protobuf sends it all the same, and refuses to read it
  ASSERT_TRUE(stream->Write(request));
  stream->WritesDone();

  v1::ScoreStreamResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), "before");
  EXPECT_FALSE(stream->Read(&answer));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(),
            "item 1 of the stream is not a valid ScoreStreamRequest: its bytes do not parse, or a "
            "text of it is not UTF-8");
  server.AwaitIdle();
  server.ExpectHealthy();
}

TEST(ScoreStreamTest, ACancelledStreamTakesItsItemsAlong) {
  TestServer server;
  server.model().ShutGate();
  grpc::ClientContext context;
  const auto stream = server.inference().ScoreStream(&context);
  v1::ScoreStreamRequest request;
  *request.mutable_request() = SmallScoreRequest();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(stream->Write(request));
  server.model().AwaitStep();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  server.model().OpenGate();

  server.AwaitIdle();
  server.ExpectHealthy();
}

TEST(ScoreStreamTest, EndsAtOnceWhenNothingIsSent) {
  TestServer server;
  grpc::ClientContext context;
  const auto stream = server.inference().ScoreStream(&context);
  stream->WritesDone();
  v1::ScoreStreamResponse answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(TokenizeTest, GivesIdsAndBytesAndBack) {
  TestServer server;
  v1::TokenizeRequest request;
  request.mutable_prompt()->set_text("aé");
  grpc::ClientContext context;
  v1::TokenizeResponse tokens;
  ASSERT_TRUE(server.inference().Tokenize(&context, request, &tokens).ok());
  EXPECT_THAT(tokens.token_ids(), ::testing::ElementsAre(kLetterA, FakeTokenizer::kFirstHalf,
                                                         FakeTokenizer::kSecondHalf));
  EXPECT_THAT(tokens.tokens(), ::testing::ElementsAre("a", "\xc3", "\xa9"));

  v1::DetokenizeRequest back;
  *back.mutable_token_ids() = tokens.token_ids();
  back.mutable_token_ids()->RemoveLast();
  grpc::ClientContext back_context;
  v1::DetokenizeResponse text;
  ASSERT_TRUE(server.inference().Detokenize(&back_context, back, &text).ok());
  EXPECT_EQ(text.text(), "a\uFFFD") << "half a code point";
  EXPECT_THAT(text.tokens(), ::testing::ElementsAre("a", "\xc3"));
}

// As Hugging Face's tokenizers have it: nothing is no token, beside a BOS.
TEST(TokenizeTest, AnEmptyTextIsNoTokenButTheBosThatIsAsked) {
  TestServer server;
  v1::TokenizeRequest request;
  request.mutable_prompt()->set_text("");
  grpc::ClientContext context;
  v1::TokenizeResponse tokens;
  ASSERT_TRUE(server.inference().Tokenize(&context, request, &tokens).ok());
  EXPECT_THAT(tokens.token_ids(), ::testing::IsEmpty());

  request.mutable_prompt()->set_add_bos(true);
  grpc::ClientContext with_bos_context;
  ASSERT_TRUE(server.inference().Tokenize(&with_bos_context, request, &tokens).ok());
  EXPECT_THAT(tokens.token_ids(), ::testing::ElementsAre(FakeTokenizer::kBos));

  request.mutable_prompt()->clear_add_bos();
  request.mutable_prompt()->mutable_token_ids();
  grpc::ClientContext ids_context;
  ASSERT_TRUE(server.inference().Tokenize(&ids_context, request, &tokens).ok());
  EXPECT_THAT(tokens.token_ids(), ::testing::IsEmpty());
}

TEST(DetokenizeTest, LeavesSpecialTokensOutUnlessAsked) {
  TestServer server;
  v1::DetokenizeRequest request;
  request.add_token_ids(kLetterA);
  request.add_token_ids(FakeTokenizer::kBos);
  grpc::ClientContext context;
  v1::DetokenizeResponse response;
  ASSERT_TRUE(server.inference().Detokenize(&context, request, &response).ok());
  EXPECT_EQ(response.text(), "a");
  EXPECT_EQ(response.tokens_size(), 2) << "whose bytes these are is known by their place";

  request.set_include_special_tokens(true);
  grpc::ClientContext special_context;
  ASSERT_TRUE(server.inference().Detokenize(&special_context, request, &response).ok());
  EXPECT_EQ(response.text(),
            absl::StrCat("a", std::string(FakeTokenizer().Bytes(FakeTokenizer::kBos))));
}

}  // namespace
}  // namespace peerage
