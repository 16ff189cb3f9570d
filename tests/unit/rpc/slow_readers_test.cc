// Clients that do not take what the server writes: each call of theirs comes to an end, and what
// they hold together is bounded.
#include "server/rpc/slow_readers.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

constexpr absl::Time kStart = absl::UnixEpoch();

TEST(ReadingBudgetTest, EndsAtAPause) {
  ReadingBudget budget(absl::Seconds(60));
  EXPECT_EQ(budget.end(), absl::InfiniteFuture()) << "nothing is written";
  budget.Begin(kStart, 10);
  EXPECT_EQ(budget.end(), kStart + absl::Seconds(60.5));
  budget.Begin(kStart + absl::Seconds(9), 0);  // the end of the call, behind the message
  EXPECT_EQ(budget.end(), kStart + absl::Seconds(61));
}

TEST(ReadingBudgetTest, EndsWithDropsNowAndThen) {
  ReadingBudget budget(absl::Seconds(60));
  absl::Time now = kStart;
  int messages = 0;
  for (; messages < 1000; ++messages) {
    budget.Begin(now, 40);
    if (budget.end() <= now + absl::Seconds(4)) break;
    now += absl::Seconds(4);
    budget.End(now);
  }
  EXPECT_EQ(messages, 17) << "each has taken 3.5 s";
}

TEST(ReadingBudgetTest, NeverEndsAtAPace) {
  ReadingBudget budget(absl::Seconds(60));
  absl::Time now = kStart;
  for (int message = 0; message < 1000; ++message) {
    const bool is_large = message % 2 == 0;
    budget.Begin(now, is_large ? 4 << 20 : 40);
    now += is_large ? absl::Seconds(64) : absl::Milliseconds(500);
    ASSERT_GT(budget.end(), now);
    budget.End(now);
  }
  budget.Begin(now, 0);
  EXPECT_EQ(budget.end(), now + absl::Seconds(60.5)) << "what was quick is not saved up";
}

TEST(UnsentBytesTest, CountsUntilTheLastByteIsLetGoOf) {
  const UnsentBytes unsent;
  grpc::ByteBuffer first = unsent.Hold(std::string(1000, 'a'));
  grpc::ByteBuffer second = unsent.Hold("bc");
  grpc::ByteBuffer again = first;
  EXPECT_EQ(unsent.total(), 1002);
  first.Clear();
  EXPECT_EQ(unsent.total(), 1002);
  again.Clear();
  EXPECT_EQ(unsent.total(), 2);
  grpc::Slice slice;
  ASSERT_TRUE(second.DumpToSingleSlice(&slice).ok());
  EXPECT_EQ(std::string(slice.begin(), slice.end()), "bc");
}

// A call of a method over a socket that takes nothing of its answer until it is told to.
class UnreadCall {
 public:
  UnreadCall(const std::string& address, const std::string& method, const std::string& message) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // the window stays at 64 KiB
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = std::make_unique<grpc::GenericStub>(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    call_ = stub_->PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    Await();
    const grpc::Slice slice(message);
    call_->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), this);
    Await();
  }

  grpc::Status ReadAll() {
    grpc::ByteBuffer message;
    do {
      call_->Read(&message, this);
    } while (Await());
    grpc::Status status;
    call_->Finish(&status, this);
    Await();
    return status;
  }

 private:
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::CompletionQueue queue_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

constexpr size_t kTextBytes = 250'000;  // whose tokens take four times as much

class SlowReadersTest : public ::testing::Test {
 protected:
  void Start(int64_t max_unsent_bytes = 1 << 30) {
    server_ = std::make_unique<TestServer>(TestServerOptions{
        .model = {.expert_layers = {{.layer = 1, .num_experts = 8, .heads = 1, .top_k = 2}}},
        .slow_readers = {.patience = absl::Minutes(1), .max_unsent_bytes = max_unsent_bytes}});
  }

  std::unique_ptr<UnreadCall> TokenizeUnread() {
    v1::TokenizeRequest request;
    request.mutable_prompt()->set_text(std::string(kTextBytes, 'a'));
    const int64_t before = unsent();
    auto call = std::make_unique<UnreadCall>(server_->rpc().address().ToString(),
                                             "/peerage.v1.InferenceService/Tokenize",
                                             request.SerializeAsString());
    while (unsent() <= before + 64 * 1024) std::this_thread::yield();
    return call;
  }

  int64_t unsent() const { return server_->rpc().readers().unsent().total(); }

  void Pass(absl::Duration time) {
    server_->clock().Advance(time);
    server_->answers().Wake();
  }

  // Waits until a call of this method was ended for its reader's sake, as time passes.
  void AwaitEnd(const std::string& method) {
    while (true) {
      for (const CallEvent& call : server_->observer().calls()) {
        if (!absl::EndsWith(call.origin.method, method)) continue;
        if (call.code == absl::StatusCode::kResourceExhausted) return;
      }
      Pass(absl::Seconds(1));
      std::this_thread::yield();
    }
  }

  std::unique_ptr<TestServer> server_;
};

TEST_F(SlowReadersTest, AnAnswerThatNobodyTakesIsLetGoOf) {
  Start();
  const auto call = TokenizeUnread();
  EXPECT_GT(unsent(), 500'000);
  Pass(absl::Seconds(60));
  server_->ExpectHealthy();
  EXPECT_GT(unsent(), 500'000) << "a large answer is given more";
  while (unsent() > 0) {
    Pass(absl::Seconds(1));
    std::this_thread::yield();
  }

  const grpc::Status status = call->ReadAll();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "the reader is too slow");
  EXPECT_THAT(server_->EndAndReadLog(),
              HasSubstr("call ended: the reader is too slow method="
                        "peerage.v1.InferenceService/Tokenize waited_seconds="));
}

// Of the engine nothing is held any more when these wait for their readers.
TEST_F(SlowReadersTest, StreamsThatNobodyReadsEnd) {
  Start();
  v1::GenerateStreamRequest generate;
  *generate.mutable_request() = GreedyRequest(5);
  grpc::ClientContext generate_context;
  const auto tokens = server_->inference().GenerateStream(&generate_context, generate);
  AwaitEnd("/GenerateStream");

  grpc::ClientContext score_context;
  const auto scores = server_->inference().ScoreStream(&score_context);
  v1::ScoreStreamRequest item;
  *item.mutable_request() = SmallScoreRequest();
  ASSERT_TRUE(scores->Write(item));
  AwaitEnd("/ScoreStream");

  v1::GetExpertUsageRequest usage;
  usage.set_layer(1);
  usage.set_kind(v1::EXPERT_LAYER_KIND_PEER);
  usage.set_window(v1::USAGE_WINDOW_TOTAL);
  grpc::ClientContext usage_context;
  const auto chunks = server_->experts().GetExpertUsage(&usage_context, usage);
  AwaitEnd("/GetExpertUsage");

  v1::WatchExpertSummaryRequest watch;
  watch.set_window(v1::USAGE_WINDOW_TOTAL);
  grpc::ClientContext watch_context;
  const auto summaries = server_->experts().WatchExpertSummary(&watch_context, watch);
  AwaitEnd("/WatchExpertSummary");
  server_->AwaitIdle();
  for (grpc::ClientContext* context :
       {&generate_context, &score_context, &usage_context, &watch_context}) {
    context->TryCancel();
  }
}

TEST_F(SlowReadersTest, WhoReadsIsWaitedForWhateverTimePasses) {
  Start();
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(20);
  grpc::ClientContext context;
  const auto stream = server_->inference().GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  while (stream->Read(&message)) Pass(absl::Milliseconds(400));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(SlowReadersTest, TheSlowestMakeRoomBeforeThereIsNone) {
  Start(/*max_unsent_bytes=*/3 << 20);
  const auto first = TokenizeUnread();
  Pass(absl::Milliseconds(10));
  const auto second = TokenizeUnread();
  ASSERT_GT(unsent(), 3 << 19) << "half of what may be";
  Pass(absl::Seconds(1));
  while (unsent() > 3 << 19) std::this_thread::yield();
  server_->ExpectHealthy();
  const grpc::Status status = first->ReadAll();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("others' answers wait"));
  EXPECT_TRUE(second->ReadAll().ok());
}

TEST_F(SlowReadersTest, NothingIsComputedWhileThereIsNoRoom) {
  Start(/*max_unsent_bytes=*/500'000);
  const auto call = TokenizeUnread();
  const int64_t computed = server_->model().num_computed_tokens();
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = server_->inference().Generate(&context, GreedyRequest(1), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("clients have not taken"));
  EXPECT_EQ(context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1);
  EXPECT_EQ(server_->model().num_computed_tokens(), computed);

  EXPECT_TRUE(call->ReadAll().ok());
  while (unsent() > 0) std::this_thread::yield();
  server_->ExpectHealthy();
}

}  // namespace
}  // namespace peerage
