// Calls whose texts are read by threads of their own, while those threads are busy or full.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/text_pool.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

constexpr size_t kLarge = 1 << 20;

TEST(CheckWantedTest, NothingIsReadForACallThatIsCancelledOrLate) {
  const absl::Time arrival = absl::FromUnixSeconds(1000);
  const Call call = {.arrival = arrival, .deadline = arrival + absl::Seconds(10)};
  const auto code = [&](bool cancelled, absl::Duration after) {
    return CheckWanted(call, cancelled, arrival + after).code();
  };
  EXPECT_EQ(code(false, absl::Seconds(9.999)), absl::StatusCode::kOk);
  EXPECT_EQ(code(false, absl::Seconds(10)), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(code(true, absl::Seconds(5)), absl::StatusCode::kCancelled);
  EXPECT_EQ(code(true, absl::Seconds(10)), absl::StatusCode::kDeadlineExceeded);
}

class TextCallsTest : public ::testing::Test {
 protected:
  // The only thread that reads what is large waits for OpenGate from here on.
  void ShutGate() {
    server_.rpc().texts().RunInTurn("gate", kLarge, [this] {
      shut_.Notify();
      gate_.WaitForNotification();
    });
    shut_.WaitForNotification();
  }
  void OpenGate() { gate_.Notify(); }

  // So many others wait, each with one text: kMaxWaiting at most, and as many again beyond it.
  void FillPool(int texts) {
    for (int i = 0; i < texts; ++i) {
      server_.rpc().texts().Run(absl::StrCat("caller ", i), kLarge,
                                [](const absl::Status& turn) { EXPECT_TRUE(turn.ok()); });
    }
  }

  static v1::GenerateRequest LargeRequest() {
    v1::GenerateRequest request = GreedyRequest(1);
    request.mutable_prompt()->set_text(std::string(100, 'a'));
    return request;
  }

  int count(absl::StatusCode code) {
    return server_.observer().count(RequestKind::kGenerate, code);
  }

  // The server tells of a call's end after its client knows.
  void AwaitCall() {
    while (server_.observer().calls().empty()) std::this_thread::yield();
  }

  static constexpr int kMaxWaiting = 3;
  absl::Notification shut_;
  absl::Notification gate_;
  TestServer server_{{.texts = {.threads = 1, .max_waiting = kMaxWaiting, .at_once_bytes = 64}}};
};

TEST_F(TextCallsTest, LargeTextsHoldUpNothingElse) {
  ShutGate();
  std::vector<std::thread> callers;
  for (int i = 0; i < kMaxWaiting; ++i) {
    callers.emplace_back([this] {
      grpc::ClientContext context;
      v1::GenerateResponse response;
      EXPECT_TRUE(server_.inference().Generate(&context, LargeRequest(), &response).ok());
    });
  }
  server_.ExpectHealthy();
  grpc::ClientContext context;
  v1::GetServerStatusResponse status;
  EXPECT_TRUE(server_.admin().GetServerStatus(&context, {}, &status).ok());

  OpenGate();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(count(absl::StatusCode::kOk), kMaxWaiting + 1);
}

TEST_F(TextCallsTest, RefusesTextsWhenTooManyWait) {
  ShutGate();
  FillPool(2 * kMaxWaiting);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server_.inference().Generate(&context, LargeRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("texts wait"));
  EXPECT_EQ(context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1);

  v1::TokenizeRequest tokenize;
  *tokenize.mutable_prompt() = LargeRequest().prompt();
  grpc::ClientContext tokenize_context;
  v1::TokenizeResponse tokens;
  EXPECT_EQ(server_.inference().Tokenize(&tokenize_context, tokenize, &tokens).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  OpenGate();
  EXPECT_EQ(count(absl::StatusCode::kResourceExhausted), 1);
}

TEST_F(TextCallsTest, TextsOfOthersTakeNobodysPlace) {
  ShutGate();
  FillPool(kMaxWaiting);
  std::thread caller([this] {
    grpc::ClientContext context;
    v1::GenerateResponse response;
    EXPECT_TRUE(server_.inference().Generate(&context, LargeRequest(), &response).ok());
  });
  while (server_.rpc().texts().num_waiting() < kMaxWaiting + 1) std::this_thread::yield();
  OpenGate();
  caller.join();
}

TEST_F(TextCallsTest, ATextIsNotReadAfterItsDeadline) {
  ShutGate();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::hours(1));
  v1::GenerateResponse response;
  grpc::Status status;
  std::thread caller(
      [&] { status = server_.inference().Generate(&context, LargeRequest(), &response); });
  while (server_.rpc().texts().num_waiting() < 1) std::this_thread::yield();
  server_.clock().Advance(absl::Hours(2));
  OpenGate();
  caller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(count(absl::StatusCode::kDeadlineExceeded), 1);
  EXPECT_EQ(server_.model().num_computed_tokens(), 0);
}

// A stream reads no further until what came is read, so it waits however many do.
TEST_F(TextCallsTest, AnItemOfAStreamWaitsForItsTurn) {
  ShutGate();
  FillPool(2 * kMaxWaiting);
  grpc::ClientContext context;
  const auto stream = server_.inference().ScoreStream(&context);
  v1::ScoreStreamRequest item;
  item.set_id("large");
  *item.mutable_request() = SmallScoreRequest();
  item.mutable_request()->mutable_context()->set_text(std::string(100, 'a'));
  ASSERT_TRUE(stream->Write(item));
  stream->WritesDone();
  OpenGate();
  v1::ScoreStreamResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), "large");
  EXPECT_TRUE(answer.has_response()) << answer.ShortDebugString();
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(TextCallsTest, AStreamMayBeCancelledWhileAnItemWaits) {
  ShutGate();
  grpc::ClientContext context;
  const auto stream = server_.inference().ScoreStream(&context);
  v1::ScoreStreamRequest item;
  *item.mutable_request() = SmallScoreRequest();
  item.mutable_request()->mutable_context()->set_text(std::string(100, 'a'));
  ASSERT_TRUE(stream->Write(item));
  while (server_.rpc().texts().num_waiting() < 1) std::this_thread::yield();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  AwaitCall();
  OpenGate();
  server_.ExpectHealthy();
  EXPECT_EQ(server_.observer().count(RequestKind::kScore, absl::StatusCode::kOk), 0);
}

}  // namespace
}  // namespace peerage
