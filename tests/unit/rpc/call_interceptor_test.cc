#include "server/rpc/call_interceptor.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/generate_stream_call.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class CallInterceptorTest : public ::testing::Test {
 protected:
  // The code of a unary call of any method with any bytes.
  grpc::StatusCode Call(const std::string& method, const std::string& message) {
    const auto channel =
        grpc::CreateChannel(server_.rpc().address().ToString(), grpc::InsecureChannelCredentials());
    return CallRaw(channel, method, message).status.error_code();
  }

  // The calls that the observer was told of, of this method.
  std::vector<CallEvent> Calls(const std::string& method) {
    std::vector<CallEvent> calls;
    for (const CallEvent& call : server_.observer().calls()) {
      if (call.origin.method == method) calls.push_back(call);
    }
    return calls;
  }

  TestServer server_;
};

TEST_F(CallInterceptorTest, TellsOfACallThatIsAnswered) {
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "mine");
  context.AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  v1::GenerateResponse response;
  server_.model().ShutGate();
  std::thread later([this] {
    server_.model().AwaitStep();
    server_.clock().Advance(absl::Seconds(3));
    server_.model().OpenGate();
  });
  ASSERT_TRUE(server_.inference().Generate(&context, GreedyRequest(1), &response).ok());
  later.join();

  const auto calls = Calls("peerage.v1.InferenceService/Generate");
  ASSERT_EQ(calls.size(), 1);
  EXPECT_EQ(calls[0].code, absl::StatusCode::kOk);
  EXPECT_EQ(calls[0].duration, absl::Seconds(3));
  EXPECT_EQ(calls[0].origin.request_id, "mine");
  EXPECT_EQ(calls[0].origin.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(calls[0].origin.span_id, "00f067aa0ba902b7");
}

TEST_F(CallInterceptorTest, TellsOfEveryServiceAndCode) {
  grpc::ClientContext list, get, usage, drain;
  v1::ListModelsResponse models;
  EXPECT_TRUE(server_.models().ListModels(&list, {}, &models).ok());
  v1::GetModelRequest unknown;
  unknown.set_model("other");
  v1::GetModelResponse model;
  EXPECT_FALSE(server_.models().GetModel(&get, unknown, &model).ok());
  const auto reader = server_.experts().GetExpertUsage(&usage, {});
  v1::GetExpertUsageResponse chunk;
  while (reader->Read(&chunk)) continue;
  EXPECT_FALSE(reader->Finish().ok());
  v1::GetServerStatusResponse status;
  EXPECT_TRUE(server_.admin().GetServerStatus(&drain, {}, &status).ok());
  EXPECT_EQ(Call("/grpc.health.v1.Health/Check", ""), grpc::StatusCode::OK);

  const auto code_of = [this](const std::string& method) {
    const auto calls = Calls(method);
    return calls.size() == 1 ? calls[0].code : absl::StatusCode::kUnknown;
  };
  EXPECT_EQ(code_of("peerage.v1.ModelService/ListModels"), absl::StatusCode::kOk);
  EXPECT_EQ(code_of("peerage.v1.ModelService/GetModel"), absl::StatusCode::kNotFound);
  EXPECT_EQ(Calls("peerage.v1.ModelService/GetModel")[0].error,
            "model \"other\" is not served here");
  EXPECT_EQ(code_of("peerage.v1.ExpertService/GetExpertUsage"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("peerage.v1.AdminService/GetServerStatus"), absl::StatusCode::kOk);
  EXPECT_EQ(code_of("grpc.health.v1.Health/Check"), absl::StatusCode::kOk);
  for (const CallEvent& call : server_.observer().calls()) {
    EXPECT_THAT(ServedMethods(), Contains(call.origin.method));
  }
}

TEST_F(CallInterceptorTest, TellsOfCallsThatNoServiceSees) {
  EXPECT_EQ(Call("/no.Such/Method", ""), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Calls("no.Such/Method").at(0).code, absl::StatusCode::kUnimplemented);
}

// gRPC would say UNIMPLEMENTED, as if the method were not there, and no reason.
TEST_F(CallInterceptorTest, AMessageThatIsNoneIsTheClientsFaultInEveryMethod) {
  for (const std::string& method : ServedMethods()) {
    if (!absl::StartsWith(method, "peerage.v1.")) continue;
    if (absl::EndsWith(method, "/ScoreStream")) continue;  // a stream of messages, not one
    const auto channel =
        grpc::CreateChannel(server_.rpc().address().ToString(), grpc::InsecureChannelCredentials());
    const grpc::Status status = CallRaw(channel, absl::StrCat("/", method), "\xff\xff").status;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("not UTF-8")) << method;
    ASSERT_EQ(Calls(method).size(), 1) << method;
    EXPECT_EQ(Calls(method)[0].code, absl::StatusCode::kInvalidArgument) << method;
    EXPECT_EQ(Calls(method)[0].error, status.error_message()) << method;
  }
  EXPECT_EQ(server_.observer().count(RequestKind::kGenerate, absl::StatusCode::kInvalidArgument),
            2);
  EXPECT_EQ(server_.observer().count(RequestKind::kScore, absl::StatusCode::kInvalidArgument), 1);
}

TEST(CancelledCallTest, IsToldOnce) {
  TestServer server({.model = {.capacity = {.block_tokens = 16,
                                            .num_blocks = 128,
                                            .num_slots = 16,
                                            .max_step_tokens = 64},
                               .context_length = 2048}});
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(1500);
  grpc::ClientContext context;
  const auto stream = server.inference().GenerateStream(&context, request);
  // Nobody reads, so the engine puts the stream aside: it cannot end before it is cancelled.
  while (server.model().num_computed_tokens() < GenerateStreamCall::kMaxQueuedTokens) {
    std::this_thread::yield();
  }
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (server.observer().calls().empty()) std::this_thread::yield();
  server.AwaitIdle();

  const auto calls = server.observer().calls();
  ASSERT_EQ(calls.size(), 1);
  EXPECT_EQ(calls[0].code, absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace peerage
