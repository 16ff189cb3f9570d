#include "server/rpc/rpc_server.h"

#include <gmock/gmock.h>
#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

// Another server on the parts of the first.
class RpcServerTest : public ::testing::Test {
 protected:
  absl::Status StartAt(const ListenAddress& listen) {
    return RpcServer::Start({.listen = listen, .model_name = "fake", .version = "1"},
                            {.engine = &server_.engine(),
                             .tokenizer = &tokenizer_,
                             .clock = &server_.clock(),
                             .observer = &observer_,
                             .log = &server_.log()})
        .status();
  }

  std::shared_ptr<grpc::Channel> TcpChannel() {
    return grpc::CreateChannel(server_.rpc().address().ToString(),
                               grpc::InsecureChannelCredentials());
  }

  // What grpc.health.v1.Health/Check says of a service: its ServingStatus, or minus the code.
  int Health(const std::string& service) {
    std::string request =
        service.empty() ? "" : absl::StrCat("\x0a", std::string(1, service.size()), service);
    const RawAnswer answer = CallRaw(TcpChannel(), "/grpc.health.v1.Health/Check", request);
    if (!answer.status.ok()) return -answer.status.error_code();
    grpc::Slice answer_slice;
    EXPECT_TRUE(answer.bytes.DumpToSingleSlice(&answer_slice).ok());
    return answer_slice.size() == 2 ? answer_slice.begin()[1] : 0;
  }

  static constexpr int kServing = 1;
  static constexpr int kNotServing = 2;

  std::unique_ptr<LanguageModel> failed_;
  TestServer server_{{.engine = {.rebuild = [this](int, std::unique_ptr<LanguageModel> failed,
                                                   absl::Time) -> LoadModel {
                        failed_ = std::move(failed);  // its usage is still looked at
                        return [] { return std::make_unique<FakeModel>(); };
                      }}}};
  FakeTokenizer tokenizer_;
  CountingObserver observer_;
};

TEST_F(RpcServerTest, TellsThePortThatItTook) {
  EXPECT_EQ(server_.rpc().address().host, "127.0.0.1");
  EXPECT_GT(server_.rpc().address().port, 0);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  EXPECT_TRUE(v1::InferenceService::NewStub(TcpChannel())
                  ->Generate(&context, GreedyRequest(1), &response)
                  .ok());
}

TEST_F(RpcServerTest, EveryServiceTakesAndEchoesTheRequestId) {
  using Call = std::function<grpc::Status(grpc::ClientContext*)>;
  const std::vector<std::pair<std::string, Call>> calls = {
      {"Tokenize",
       [this](grpc::ClientContext* context) {
         v1::TokenizeRequest request;
         request.mutable_prompt()->set_text("a");
         v1::TokenizeResponse response;
         return server_.inference().Tokenize(context, request, &response);
       }},
      {"ListModels",
       [this](grpc::ClientContext* context) {
         v1::ListModelsResponse response;
         return server_.models().ListModels(context, {}, &response);
       }},
      {"GetModel",
       [this](grpc::ClientContext* context) {
         v1::GetModelResponse response;
         return server_.models().GetModel(context, {}, &response);
       }},
      {"GetServerStatus",
       [this](grpc::ClientContext* context) {
         v1::GetServerStatusResponse response;
         return server_.admin().GetServerStatus(context, {}, &response);
       }},
  };
  for (const auto& [name, call] : calls) {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", "mine");
    EXPECT_TRUE(call(&context).ok()) << name;
    const auto& metadata = context.GetServerInitialMetadata();
    const auto echoed = metadata.find("x-request-id");
    ASSERT_NE(echoed, metadata.end()) << name;
    EXPECT_EQ(echoed->second, "mine") << name;

    grpc::ClientContext too_long;
    too_long.AddMetadata("x-request-id", std::string(129, 'x'));
    EXPECT_THAT(ViolatedFields(call(&too_long)), ::testing::ElementsAre("x-request-id")) << name;
  }
}

TEST_F(RpcServerTest, RefusesAPortThatIsInUse) {
  const absl::Status status = StartAt(server_.rpc().address());
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr(server_.rpc().address().ToString()));
}

TEST_F(RpcServerTest, HealthTellsAliveFromReady) {
  EXPECT_EQ(Health(""), kServing);
  EXPECT_EQ(Health("fake"), kServing);
  EXPECT_EQ(Health("other"), -grpc::StatusCode::NOT_FOUND);

  server_.engine().StopAdmission();
  EXPECT_EQ(Health(""), kServing);
  EXPECT_EQ(Health("fake"), kNotServing);
}

TEST_F(RpcServerTest, HealthFollowsItsOnlyWorker) {
  EXPECT_EQ(Health("fake"), kServing);
  server_.model().FailNextStep(absl::InternalError("a bad step"));
  grpc::ClientContext context;
  v1::GenerateResponse response;
  EXPECT_EQ(server_.inference().Generate(&context, GreedyRequest(1), &response).error_code(),
            grpc::StatusCode::INTERNAL);
  EXPECT_EQ(Health("fake"), kNotServing);
  EXPECT_EQ(Health(""), kServing) << "there is no reason to start it anew";

  while (!server_.engine().status().ready()) {
    server_.clock().Advance(Replica::kFirstDelay / 4);
    server_.engine().Wake();
  }
  while (Health("fake") != kServing) std::this_thread::yield();
  server_.ExpectHealthy();
}

TEST_F(RpcServerTest, RefusesMessagesOverItsLimit) {
  const auto generate = [this](size_t bytes) {
    v1::GenerateRequest request = GreedyRequest(1);
    request.mutable_prompt()->set_text(std::string(bytes, 'a'));
    grpc::ClientContext context;
    v1::GenerateResponse response;
    return v1::InferenceService::NewStub(TcpChannel())
        ->Generate(&context, request, &response)
        .error_code();
  };
  EXPECT_EQ(generate((4 << 20) - 1000), grpc::StatusCode::OUT_OF_RANGE) << "it has been read";
  EXPECT_EQ(generate(4 << 20), grpc::StatusCode::RESOURCE_EXHAUSTED);
  server_.ExpectHealthy();
}

TEST_F(RpcServerTest, RefusesCompressedMessagesBeforeTheyInflate) {
  v1::GenerateRequest request = GreedyRequest(1);
  request.mutable_prompt()->set_text(std::string(10'000, 'a'));
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::GenerateResponse response;
  const grpc::Status status =
      v1::InferenceService::NewStub(TcpChannel())->Generate(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
  server_.ExpectHealthy();
}

TEST_F(RpcServerTest, ListsItsModel) {
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(server_.models().ListModels(&context, {}, &response).ok());
  ASSERT_EQ(response.models_size(), 1);
  const v1::Model& model = response.models(0);
  EXPECT_EQ(model.name(), "fake");
  EXPECT_EQ(model.vocabulary_size(), 32);
  EXPECT_EQ(model.context_length(), 256);
  EXPECT_EQ(model.chat_template(), "fake");
}

TEST_F(RpcServerTest, StatusCountsWhatRuns) {
  server_.model().ShutGate();
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(2);
  grpc::ClientContext stream_context;
  const auto stream = server_.inference().GenerateStream(&stream_context, request);
  server_.model().AwaitStep();
  server_.clock().Advance(absl::Seconds(90));

  grpc::ClientContext context;
  v1::GetServerStatusResponse status;
  ASSERT_TRUE(server_.admin().GetServerStatus(&context, {}, &status).ok());
  server_.model().OpenGate();

  EXPECT_EQ(status.version(), "1.2.3");
  EXPECT_EQ(status.uptime_seconds(), 90);
  EXPECT_FALSE(status.draining());
  EXPECT_EQ(status.requests_running(), 1);
  ASSERT_EQ(status.workers_size(), 1);
  EXPECT_EQ(status.workers(0).kv_blocks_total(), 64);
  EXPECT_LT(status.workers(0).kv_blocks_free(), 64);
  v1::GenerateStreamResponse message;
  while (stream->Read(&message)) continue;
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(RpcServerTest, DrainLetsRunningRequestsFinishAndRefusesNewOnes) {
  server_.model().ShutGate();
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(20);
  grpc::ClientContext stream_context;
  const auto stream = server_.inference().GenerateStream(&stream_context, request);
  server_.model().AwaitStep();

  std::atomic<bool> drained = false;
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i) {
    callers.emplace_back([&] {
      grpc::ClientContext context;
      v1::DrainResponse response;
      EXPECT_TRUE(server_.admin().Drain(&context, {}, &response).ok());
      drained = true;
    });
  }
  while (!server_.engine().status().draining) std::this_thread::yield();
  while (Health("fake") == kServing) std::this_thread::yield();
  EXPECT_EQ(Health(""), kServing);
  grpc::ClientContext refused_context;
  v1::GenerateResponse response;
  const grpc::Status refused =
      server_.inference().Generate(&refused_context, GreedyRequest(1), &response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(refused_context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1);
  EXPECT_FALSE(drained);

  server_.model().OpenGate();
  int tokens = 0;
  v1::GenerateStreamResponse message;
  while (stream->Read(&message)) tokens += message.delta().token_ids_size();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(tokens, 20);
  for (std::thread& caller : callers) caller.join();

  grpc::ClientContext again_context;
  v1::DrainResponse again;
  EXPECT_TRUE(server_.admin().Drain(&again_context, {}, &again).ok()) << "drained already";
}

TEST_F(RpcServerTest, DrainIsForThisMachineOnly) {
  grpc::ClientContext context;
  v1::DrainResponse response;
  // gRPC does not tell where an in-process call comes from.
  const auto admin = v1::AdminService::NewStub(server_.rpc().InProcessChannel());
  EXPECT_EQ(admin->Drain(&context, {}, &response).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  server_.ExpectHealthy();
}

TEST_F(RpcServerTest, WhoComesThroughAProxyOfThisMachineMayNotChangeTheServer) {
  const auto experts = v1::ExpertService::NewStub(
      grpc::CreateChannel(server_.rpc().address().ToString(), grpc::InsecureChannelCredentials()));
  for (const char* header :
       {"forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"}) {
    grpc::ClientContext drain, level, reset;
    for (grpc::ClientContext* context : {&drain, &level, &reset}) {
      context->AddMetadata(header, "for=192.0.2.1");
    }
    v1::DrainResponse drained;
    EXPECT_EQ(server_.admin().Drain(&drain, {}, &drained).error_code(),
              grpc::StatusCode::PERMISSION_DENIED)
        << header;
    v1::SetLogLevelRequest request;
    request.set_level(v1::LOG_LEVEL_DEBUG);
    v1::SetLogLevelResponse set;
    EXPECT_EQ(server_.admin().SetLogLevel(&level, request, &set).error_code(),
              grpc::StatusCode::PERMISSION_DENIED)
        << header;
    v1::ResetExpertUsageResponse done;
    EXPECT_EQ(experts->ResetExpertUsage(&reset, {}, &done).error_code(),
              grpc::StatusCode::PERMISSION_DENIED)
        << header;
  }
  EXPECT_EQ(server_.log().level(), LogLevel::kInfo);
  server_.ExpectHealthy();
}

TEST_F(RpcServerTest, SetsTheLogLevelForThisMachineOnly) {
  v1::SetLogLevelRequest request;
  request.set_level(v1::LOG_LEVEL_DEBUG);
  v1::SetLogLevelResponse response;
  grpc::ClientContext elsewhere;
  const auto admin = v1::AdminService::NewStub(server_.rpc().InProcessChannel());
  EXPECT_EQ(admin->SetLogLevel(&elsewhere, request, &response).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(server_.log().level(), LogLevel::kInfo);

  grpc::ClientContext here;
  ASSERT_TRUE(server_.admin().SetLogLevel(&here, request, &response).ok());
  EXPECT_EQ(response.previous(), v1::LOG_LEVEL_INFO);
  EXPECT_EQ(server_.log().level(), LogLevel::kDebug);
  grpc::ClientContext context;
  v1::GetServerStatusResponse status;
  ASSERT_TRUE(server_.admin().GetServerStatus(&context, {}, &status).ok());
  EXPECT_EQ(status.log_level(), v1::LOG_LEVEL_DEBUG);
  EXPECT_THAT(server_.EndAndReadLog(), ::testing::HasSubstr(" info log level: debug\n"));
}

TEST_F(RpcServerTest, RefusesALogLevelThatIsNone) {
  for (const auto level : {v1::LOG_LEVEL_UNSPECIFIED, static_cast<v1::LogLevel>(99)}) {
    v1::SetLogLevelRequest request;
    request.set_level(level);
    v1::SetLogLevelResponse response;
    grpc::ClientContext context;
    EXPECT_THAT(ViolatedFields(server_.admin().SetLogLevel(&context, request, &response)),
                ::testing::ElementsAre("level"));
  }
  EXPECT_EQ(server_.log().level(), LogLevel::kInfo);
}

TEST_F(RpcServerTest, LogsWhatGrpcSaysEscapedAndNotWithoutEnd) {
  for (int i = 0; i < 1000; ++i) {
    gpr_log("src/core/file.cc", 7, GPR_LOG_SEVERITY_ERROR, "te: x\n%s", "E0101 FAKE\x1b[31m");
  }
  gpr_log("file.cc", 8, GPR_LOG_SEVERITY_INFO, "a tracer's");
  const std::string log = server_.EndAndReadLog();
  EXPECT_THAT(
      log, ::testing::HasSubstr(R"( warn grpc source=file.cc:7 text="te: x\nE0101 FAKE\u001b[31m")"
                                "\n"));
  EXPECT_THAT(log, ::testing::HasSubstr(" warn lines left out kind=grpc lines=900\n"));
  EXPECT_THAT(log, ::testing::Not(::testing::HasSubstr("tracer")));
}

TEST_F(RpcServerTest, ADrainCallMayBeCancelledWhileTheDrainGoesOn) {
  server_.model().ShutGate();
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(2);
  grpc::ClientContext stream_context;
  const auto stream = server_.inference().GenerateStream(&stream_context, request);
  server_.model().AwaitStep();

  grpc::ClientContext context;
  std::thread caller([&] {
    v1::DrainResponse response;
    EXPECT_EQ(server_.admin().Drain(&context, {}, &response).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  while (!server_.engine().status().draining) std::this_thread::yield();
  context.TryCancel();
  caller.join();
  server_.model().OpenGate();
  v1::GenerateStreamResponse message;
  while (stream->Read(&message)) continue;
  EXPECT_TRUE(stream->Finish().ok());
}

// Whoever watches is cut off, whoever waits for results gets them all, however slowly.
TEST_F(RpcServerTest, ShutdownWaitsForResultsThatAreOnTheirWay) {
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(20);
  grpc::ClientContext stream_context;
  const auto stream = server_.inference().GenerateStream(&stream_context, request);
  v1::WatchExpertSummaryRequest watch_request;
  watch_request.set_window(v1::USAGE_WINDOW_TOTAL);
  grpc::ClientContext watch_context;
  const auto watch = server_.experts().WatchExpertSummary(&watch_context, watch_request);
  v1::WatchExpertSummaryResponse summary;
  ASSERT_TRUE(watch->Read(&summary));
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(stream->Read(&message));
  server_.AwaitIdle();

  std::thread shutdown(
      [&] { server_.rpc().Shutdown(absl::InfiniteFuture(), absl::InfinitePast()); });
  int tokens = 0;
  while (stream->Read(&message)) tokens += message.delta().token_ids_size();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(tokens, 20);
  shutdown.join();
  EXPECT_FALSE(watch->Read(&summary));
  EXPECT_FALSE(watch->Finish().ok());
}

TEST_F(RpcServerTest, ShutdownCancelsWhatRunsAtItsDeadline) {
  server_.model().ShutGate();
  v1::GenerateStreamRequest request;
  *request.mutable_request() = GreedyRequest(200);
  grpc::ClientContext stream_context;
  const auto stream = server_.inference().GenerateStream(&stream_context, request);
  server_.model().AwaitStep();

  std::thread shutdown([&] { server_.rpc().Shutdown(absl::InfinitePast(), absl::InfinitePast()); });
  v1::GenerateStreamResponse message;
  while (stream->Read(&message)) continue;
  EXPECT_FALSE(stream->Finish().ok());
  server_.model().OpenGate();
  shutdown.join();
  server_.AwaitIdle();
}

}  // namespace
}  // namespace peerage
