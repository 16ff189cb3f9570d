#include "server/rpc/gate.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/rpc/call_interceptor.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

// Of "apple" and "banana".
constexpr char kTokens[] =
    "alice 3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b\n"
    "bob b493d48364afe44d11c0165cf470a4164d1e2609911ef998be868d46ade3de4e\n";

Identities IdentitiesOf(const std::string& principals) {
  auto tokens = BearerTokens::Parse(kTokens);
  auto policy = Policy::Parse(absl::StrCat(R"({"principals": )", principals, "}"), ServedMethods());
  EXPECT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_TRUE(policy.ok()) << policy.status();
  return {*std::move(tokens), *std::move(policy)};
}

// A server of "fake" with a policy.
struct GuardedServer {
  explicit GuardedServer(const std::string& principals)
      : authorizer("fake", ServedMethods()), server(TestServerOptions{.authorizer = &authorizer}) {
    authorizer.Replace(IdentitiesOf(principals));
  }

  // What a call of any method with any bytes and this token ends with. As a stream: that shows
  // whatever is answered before the end.
  grpc::Status Call(const std::string& method, const std::string& token,
                    const std::string& message = "") {
    grpc::GenericStub stub(
        grpc::CreateChannel(server.rpc().address().ToString(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    if (!token.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareCall(&context, absl::StrCat("/", method), &queue);
    const auto done = [&queue] {
      void* tag;
      bool ok = false;
      queue.Next(&tag, &ok);
      return ok;
    };
    call->StartCall(nullptr);
    done();
    const grpc::Slice slice(message);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    done();
    answers = 0;
    grpc::ByteBuffer answer;
    while (call->Read(&answer, nullptr), done()) ++answers;
    grpc::Status status;
    call->Finish(&status, nullptr);
    done();
    return status;
  }

  Authorizer authorizer;
  TestServer server;
  int answers = 0;  // to the last call
};

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

TEST(GateTest, RefusesEveryMethodToWhoShowsNothing) {
  GuardedServer guarded("{}");
  ASSERT_GE(ServedMethods().size(), 17);
  for (const std::string& method : ServedMethods()) {
    const grpc::Status status = guarded.Call(method, "");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
    EXPECT_EQ(status.error_message(), "the call has no credentials that are valid here") << method;
    EXPECT_EQ(guarded.answers, 0) << method;
    const grpc::Status unknown = guarded.Call(method, "pear");
    EXPECT_EQ(unknown.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
    EXPECT_EQ(unknown.error_message(), status.error_message()) << method;
  }
}

TEST(GateTest, RefusesEveryMethodThatThePolicyDoesNotName) {
  GuardedServer guarded(R"({"alice": {"methods": ["*"]}, "bob": {}})");
  for (const std::string& method : ServedMethods()) {
    const grpc::Status status = guarded.Call(method, "banana");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << method;
    EXPECT_EQ(status.error_message(), "the policy does not allow this method") << method;
    EXPECT_EQ(guarded.answers, 0) << method;
  }
  // A local caller, who could without a policy.
  for (const char* method : {"peerage.v1.AdminService/Drain", "peerage.v1.AdminService/SetLogLevel",
                             "peerage.v1.ExpertService/ResetExpertUsage"}) {
    EXPECT_EQ(guarded.Call(method, "apple").error_code(), grpc::StatusCode::PERMISSION_DENIED)
        << method;
  }
  EXPECT_FALSE(guarded.server.engine().status().draining);
}

TEST(GateTest, LetsInWhomThePolicyNames) {
  GuardedServer guarded(R"({"alice": {"methods": ["*", "peerage.v1.AdminService/SetLogLevel"]},
      "anonymous": {"methods": ["grpc.health.v1.Health/Check"]}})");
  EXPECT_TRUE(guarded.Call("grpc.health.v1.Health/Check", "").ok());
  EXPECT_EQ(guarded.answers, 1);
  EXPECT_TRUE(guarded.Call("grpc.health.v1.Health/Check", "apple").ok());
  EXPECT_TRUE(
      guarded.Call("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "apple").ok());
  EXPECT_TRUE(guarded.Call("peerage.v1.ModelService/ListModels", "apple").ok());
  EXPECT_TRUE(guarded
                  .Call("peerage.v1.InferenceService/Generate", "apple",
                        GreedyRequest(2).SerializeAsString())
                  .ok());
  EXPECT_EQ(guarded.answers, 1);
  // LOG_LEVEL_DEBUG
  EXPECT_TRUE(guarded.Call("peerage.v1.AdminService/SetLogLevel", "apple", "\x08\x01").ok());
  EXPECT_EQ(guarded.server.log().level(), LogLevel::kDebug);
}

TEST(GateTest, HoldsRequestsToThePolicy) {
  GuardedServer guarded(R"({"alice": {"methods": ["*"], "tenants": ["a", "b"]}})");
  const auto generate = [&guarded](const std::string& token, int priority,
                                   const std::string& tenant) {
    v1::GenerateRequest request = GreedyRequest(1);
    request.mutable_scheduling()->set_priority(priority);
    request.mutable_scheduling()->set_tenant(tenant);
    return guarded.Call("peerage.v1.InferenceService/Generate", token, request.SerializeAsString());
  };
  EXPECT_TRUE(generate("apple", 0, "").ok());
  EXPECT_TRUE(generate("apple", 100, "b").ok());
  const grpc::Status urgent = generate("apple", -1, "");
  EXPECT_EQ(urgent.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(urgent.error_message(), HasSubstr("scheduling.priority"));
  const grpc::Status other = generate("apple", 0, "c");
  EXPECT_EQ(other.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(other.error_message(), HasSubstr("scheduling.tenant"));

  v1::ScoreRequest score = SmallScoreRequest();
  score.set_expert_trace(v1::EXPERT_TRACE_LEVEL_SUMMARY);
  EXPECT_THAT(guarded.Call("peerage.v1.InferenceService/Score", "apple", score.SerializeAsString())
                  .error_message(),
              HasSubstr("expert_trace"));

  std::vector<std::string> tenants;
  for (const RequestEvent& event : guarded.server.observer().requests()) {
    if (event.code == absl::StatusCode::kOk) tenants.push_back(event.tenant);
    EXPECT_EQ(event.origin.principal, "alice");
  }
  EXPECT_THAT(tenants, ::testing::ElementsAre("a", "b"));
}

TEST(GateTest, TellsWhenThereIsRoomAgain) {
  GuardedServer guarded(R"({"alice": {"methods": ["*"], "requests_per_second": 0.5}})");
  EXPECT_TRUE(guarded.Call("grpc.health.v1.Health/Check", "apple").ok());
  const grpc::Status status = guarded.Call("peerage.v1.ModelService/ListModels", "apple");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::RetryInfo retry;
  const google::rpc::Status details = DetailsOf(status);
  for (const auto& detail : details.details()) detail.UnpackTo(&retry);
  EXPECT_EQ(retry.retry_delay().seconds(), 2);
  EXPECT_EQ(guarded.Call("grpc.health.v1.Health/Check", "apple").error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  guarded.server.clock().Advance(absl::Seconds(2));
  EXPECT_TRUE(guarded.Call("peerage.v1.ModelService/ListModels", "apple").ok());
}

TEST(GateTest, HoldsEveryItemOfAStreamToWhatHoldsThen) {
  const std::string policy = R"({"alice": {"methods": ["*"], "requests_per_second": 2}})";
  GuardedServer guarded(policy);
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer apple");
  const auto stream = guarded.server.inference().ScoreStream(&context);
  const auto score = [&stream] {
    v1::ScoreStreamRequest item;
    *item.mutable_request() = SmallScoreRequest();
    v1::ScoreStreamResponse answer;
    EXPECT_TRUE(stream->Write(item) && stream->Read(&answer));
    return static_cast<grpc::StatusCode>(answer.error().code());
  };
  EXPECT_EQ(score(), grpc::StatusCode::OK);
  EXPECT_EQ(score(), grpc::StatusCode::OK);
  EXPECT_EQ(score(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  guarded.server.clock().Advance(absl::Seconds(1));
  EXPECT_EQ(score(), grpc::StatusCode::OK);
  Identities without_tokens = IdentitiesOf(policy);
  without_tokens.tokens = BearerTokens();
  guarded.authorizer.Replace(std::move(without_tokens));
  EXPECT_EQ(score(), grpc::StatusCode::UNAUTHENTICATED);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

// Whoever has heard of the end may call again at once.
TEST(GateTest, ACallCountsUntilItsEndAndNoLonger) {
  GuardedServer guarded(R"({"alice": {"methods": ["*"], "concurrency": 1}})");
  const v1::GenerateRequest request = GreedyRequest(2);
  const std::string message = "\x0a" + std::string(1, static_cast<char>(request.ByteSizeLong())) +
                              request.SerializeAsString();
  const auto call = [&] {
    return guarded.Call("peerage.v1.InferenceService/GenerateStream", "apple", message);
  };
  for (int i = 0; i < 200; ++i) {
    const grpc::Status status = call();
    ASSERT_TRUE(status.ok()) << i << ": " << status.error_message();
  }
}

TEST(GateTest, AStreamOfReflectionCountsWhileItRuns) {
  GuardedServer guarded(R"({"alice": {"methods": ["*"], "concurrency": 1}})");
  const std::string reflection = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  grpc::GenericStub stub(grpc::CreateChannel(guarded.server.rpc().address().ToString(),
                                             grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer apple");
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, absl::StrCat("/", reflection), &queue);
  const auto done = [&queue] {
    void* tag;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(nullptr);
  EXPECT_TRUE(done());
  // list_services
  const grpc::Slice list("\x3a\x01*");
  grpc::ByteBuffer answer;
  call->Write(grpc::ByteBuffer(&list, 1), nullptr);
  EXPECT_TRUE(done());
  call->Read(&answer, nullptr);
  EXPECT_TRUE(done()) << "it runs";
  EXPECT_EQ(guarded.Call(reflection, "apple").error_message(),
            "more calls at the same time than the policy allows");
  call->WritesDone(nullptr);
  EXPECT_TRUE(done());
  grpc::Status status;
  call->Finish(&status, nullptr);
  EXPECT_TRUE(done());
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(GateTest, CountsCallsByTheirRealEnd) {
  GuardedServer guarded("{}");
  for (const std::string& method : ServedMethods()) guarded.Call(method, "");
  const auto calls = guarded.server.observer().calls();
  EXPECT_EQ(calls.size(), ServedMethods().size());
  for (const CallEvent& call : calls) {
    EXPECT_EQ(call.code, absl::StatusCode::kUnauthenticated) << call.origin.method;
  }
}

}  // namespace
}  // namespace peerage
