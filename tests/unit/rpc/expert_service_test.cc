#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "model/experts/expert_figures.h"
#include "model/experts/expert_usage.h"
#include "server/rpc/expert_usage_call.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<ExpertLayer> kLayers = {
    {.layer = 1, .kind = ExpertLayerKind::kPeer, .num_experts = 97, .heads = 2, .top_k = 3},
    {.layer = 1,
     .kind = ExpertLayerKind::kProductKeyMemory,
     .num_experts = 64,
     .heads = 1,
     .top_k = 4},
    {.layer = 2, .kind = ExpertLayerKind::kPeer, .num_experts = 40'000, .heads = 1, .top_k = 16}};

TestServerOptions WithExperts() {
  TestServerOptions options;
  options.model.expert_layers = kLayers;
  return options;
}

// What a GetExpertUsage call brought together.
struct Usage {
  grpc::Status status;
  v1::UsageHeader header;
  std::vector<uint64_t> selections;
  std::vector<double> score_sums;
  int chunks = 0;
};

v1::GetExpertUsageRequest UsageRequest(const ExpertLayer& layer, v1::UsageWindow window) {
  v1::GetExpertUsageRequest request;
  request.set_layer(layer.layer);
  request.set_kind(layer.kind == ExpertLayerKind::kPeer ? v1::EXPERT_LAYER_KIND_PEER
                                                        : v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY);
  request.set_window(window);
  return request;
}

Usage GetUsage(TestServer& server, const v1::GetExpertUsageRequest& request) {
  grpc::ClientContext context;
  const auto reader = server.experts().GetExpertUsage(&context, request);
  Usage usage;
  v1::GetExpertUsageResponse message;
  while (reader->Read(&message)) {
    EXPECT_LE(message.ByteSizeLong(), size_t{1} << 20);
    if (message.has_header()) {
      EXPECT_THAT(usage.selections, IsEmpty());
      usage.header = message.header();
      continue;
    }
    ++usage.chunks;
    EXPECT_EQ(message.chunk().first_expert(), usage.selections.size());
    for (uint64_t value : Values<uint64_t>(message.chunk().selections())) {
      usage.selections.push_back(value);
    }
    for (double value : Values<double>(message.chunk().score_sums())) {
      usage.score_sums.push_back(value);
    }
  }
  usage.status = reader->Finish();
  return usage;
}

grpc::Status WatchError(TestServer& server, const v1::WatchExpertSummaryRequest& request) {
  grpc::ClientContext context;
  const auto reader = server.experts().WatchExpertSummary(&context, request);
  v1::WatchExpertSummaryResponse message;
  EXPECT_FALSE(reader->Read(&message));
  return reader->Finish();
}

// From the server's machine.
grpc::Status Reset(TestServer& server, const v1::ResetExpertUsageRequest& request) {
  const auto experts = v1::ExpertService::NewStub(
      grpc::CreateChannel(server.rpc().address().ToString(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::ResetExpertUsageResponse response;
  return experts->ResetExpertUsage(&context, request, &response);
}

double SquaredScores(const v1::LayerTrace& trace) {
  double sum = 0;
  for (const float score : Values<float>(trace.scores())) {
    const double counted = static_cast<double>(ExpertScore(score)) * ExpertCount::kUnit;
    sum += counted * counted;
  }
  return sum;
}

// Usage counted by hand from full traces.
class CountedUsage {
 public:
  explicit CountedUsage(uint32_t num_experts) : selections_(num_experts), scores_(num_experts) {}

  void Add(const v1::LayerTrace& trace) {
    const auto ids = Values<uint32_t>(trace.expert_ids());
    const auto scores = Values<float>(trace.scores());
    ASSERT_EQ(ids.size(), size_t{trace.tokens()} * trace.heads() * trace.top_k());
    ASSERT_EQ(scores.size(), ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      ++selections_[ids[i]];
      scores_[ids[i]] += ExpertScore(scores[i]);
    }
    tokens_ += trace.tokens();
  }

  void ExpectEqual(const Usage& usage) const {
    EXPECT_EQ(usage.header.tokens(), tokens_);
    EXPECT_EQ(usage.selections, selections_);
    ASSERT_EQ(usage.score_sums.size(), scores_.size());
    for (size_t i = 0; i < scores_.size(); ++i) {
      EXPECT_EQ(usage.score_sums[i], static_cast<double>(scores_[i]) * ExpertCount::kUnit) << i;
    }
  }

 private:
  std::vector<uint64_t> selections_;
  std::vector<uint64_t> scores_;
  uint64_t tokens_ = 0;
};

TEST(ExpertServiceTest, SaysWhetherHeadsShareTheirExperts) {
  TestServerOptions options;
  options.model.expert_layers = {
      {.layer = 0, .num_experts = 18, .heads = 2, .top_k = 1, .expert_sets = 2},
      {.layer = 1, .num_experts = 9, .heads = 2, .top_k = 1}};
  TestServer server(options);
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(server.models().ListModels(&context, {}, &response).ok());
  EXPECT_EQ(response.models(0).expert_layers(0).expert_sets(), 2u);
  EXPECT_EQ(response.models(0).expert_layers(1).expert_sets(), 1u);
}

TEST(ExpertServiceTest, UsageEqualsWhatFullTracesAddUpTo) {
  TestServer server(WithExperts());
  std::vector<v1::ExpertTrace> traces(16);
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&server, &trace = traces[i], i] {
      grpc::ClientContext context;
      if (i % 2 == 0) {
        v1::GenerateRequest request = GreedyRequest(1 + i);
        request.mutable_prompt()->set_text(std::string(1 + i, static_cast<char>('a' + i)));
        request.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
        v1::GenerateResponse response;
        EXPECT_TRUE(server.inference().Generate(&context, request, &response).ok());
        trace = response.expert_trace();
      } else {
        v1::ScoreRequest request = SmallScoreRequest();
        request.add_continuations()->set_text(std::string(i, 'q'));
        request.set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
        v1::ScoreResponse response;
        EXPECT_TRUE(server.inference().Score(&context, request, &response).ok());
        trace = response.expert_trace();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (size_t i = 0; i < kLayers.size(); ++i) {
    CountedUsage counted(kLayers[i].num_experts);
    for (const v1::ExpertTrace& trace : traces) {
      ASSERT_EQ(trace.layers_size(), 3);
      counted.Add(trace.layers(static_cast<int>(i)));
    }
    for (v1::UsageWindow window : {v1::USAGE_WINDOW_RECENT, v1::USAGE_WINDOW_TOTAL}) {
      const Usage usage = GetUsage(server, UsageRequest(kLayers[i], window));
      ASSERT_TRUE(usage.status.ok()) << usage.status.error_message();
      counted.ExpectEqual(usage);
      EXPECT_EQ(usage.header.model(), "fake");
      EXPECT_EQ(usage.header.num_experts(), kLayers[i].num_experts);
      EXPECT_EQ(usage.chunks, i == 2 ? 2 : 1);
    }
  }
}

TEST(ExpertServiceTest, ResetStartsTheTotalWindowAndLeavesTheRecentOne) {
  TestServer server(WithExperts());
  server.ExpectHealthy();
  server.clock().Advance(absl::Seconds(7));
  ASSERT_TRUE(Reset(server, {}).ok());

  const Usage total = GetUsage(server, UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL));
  EXPECT_EQ(total.header.tokens(), 0);
  EXPECT_EQ(total.header.window_start().seconds(), 1'000'007);
  const Usage recent = GetUsage(server, UsageRequest(kLayers[0], v1::USAGE_WINDOW_RECENT));
  EXPECT_EQ(recent.header.tokens(), 2);
  EXPECT_EQ(recent.header.selections(), 2 * 6);
  EXPECT_EQ(recent.header.window_start().seconds(), 1'000'000);
  EXPECT_EQ(recent.header.window_end().seconds(), 1'000'007);
}

TEST(ExpertServiceTest, ResetIsForThisMachineOnly) {
  TestServer server(WithExperts());
  server.ExpectHealthy();
  grpc::ClientContext context;
  v1::ResetExpertUsageResponse response;
  // gRPC does not tell where an in-process call comes from.
  const auto elsewhere = v1::ExpertService::NewStub(server.rpc().InProcessChannel());
  EXPECT_EQ(elsewhere->ResetExpertUsage(&context, {}, &response).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(GetUsage(server, UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL)).header.tokens(), 2);
}

TEST(ExpertServiceTest, ReadsWhileTheServerComputesAndWhileItDrains) {
  TestServer server(WithExperts());
  server.model().ShutGate();
  std::thread generate([&] { server.ExpectHealthy(); });
  server.model().AwaitStep();
  std::thread drain([&] { server.engine().Drain(absl::InfiniteFuture()); });
  while (!server.engine().status().draining) std::this_thread::yield();
  server.model().OpenGate();
  EXPECT_TRUE(GetUsage(server, UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL)).status.ok());
  generate.join();
  drain.join();
}

TEST(ExpertServiceTest, NamesTheLayersThatThereAre) {
  TestServer server(WithExperts());
  v1::GetExpertUsageRequest request = UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL);
  request.set_layer(7);
  const grpc::Status status = GetUsage(server, request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(),
            "the model has no expert layer 7 of kind PEER; it has layer 1 of kind PEER, layer 1 of "
            "kind PRODUCT_KEY_MEMORY, layer 2 of kind PEER");
  EXPECT_EQ(ErrorReason(status), "EXPERT_LAYER_NOT_FOUND");

  TestServer dense;
  EXPECT_THAT(GetUsage(dense, request).status.error_message(), HasSubstr("it has no experts"));
  request.set_model("other");
  EXPECT_EQ(ErrorReason(GetUsage(server, request).status), "MODEL_NOT_FOUND");
}

TEST(ExpertServiceTest, RefusesFieldsThatAreMissingOrOutOfRange) {
  TestServer server(WithExperts());
  v1::GetExpertUsageRequest usage;
  EXPECT_THAT(ViolatedFields(GetUsage(server, usage).status), ElementsAre("kind", "window"));
  usage.set_kind(static_cast<v1::ExpertLayerKind>(9));
  usage.set_window(static_cast<v1::UsageWindow>(9));
  EXPECT_THAT(ViolatedFields(GetUsage(server, usage).status), ElementsAre("kind", "window"));
  usage.set_model("other");
  EXPECT_EQ(GetUsage(server, usage).status.error_code(), grpc::StatusCode::NOT_FOUND);

  v1::WatchExpertSummaryRequest watch;
  EXPECT_THAT(ViolatedFields(WatchError(server, watch)), ElementsAre("window"));
  watch.set_window(v1::USAGE_WINDOW_TOTAL);
  for (const auto& [seconds, nanos] : std::vector<std::pair<int64_t, int32_t>>{
           {0, 999'999'999}, {-1, 0}, {86'401, 0}, {1, -1}, {1, 1'000'000'000}}) {
    watch.mutable_interval()->set_seconds(seconds);
    watch.mutable_interval()->set_nanos(nanos);
    EXPECT_THAT(ViolatedFields(WatchError(server, watch)), ElementsAre("interval")) << seconds;
  }
  watch.set_model("other");
  EXPECT_EQ(WatchError(server, watch).error_code(), grpc::StatusCode::NOT_FOUND);

  v1::ResetExpertUsageRequest reset;
  reset.set_model("other");
  EXPECT_EQ(Reset(server, reset).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(ExpertServiceTest, NamesTheFlagOfWhatIsNotCounted) {
  TestServerOptions options = WithExperts();
  options.expert_usage = ExpertUsageMode::kOff;
  TestServer off(options);
  v1::WatchExpertSummaryRequest watch;
  watch.set_window(v1::USAGE_WINDOW_TOTAL);
  for (const grpc::Status& status :
       {GetUsage(off, UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL)).status,
        WatchError(off, watch), Reset(off, {})}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(status.error_message(), HasSubstr("--expert-usage=off"));
  }

  options.expert_usage = ExpertUsageMode::kTotal;
  TestServer total(options);
  EXPECT_TRUE(GetUsage(total, UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL)).status.ok());
  const grpc::Status recent =
      GetUsage(total, UsageRequest(kLayers[0], v1::USAGE_WINDOW_RECENT)).status;
  EXPECT_EQ(recent.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(recent.error_message(), HasSubstr("--expert-usage=total"));
}

TEST(ExpertServiceTest, BoundsTheReadsAtTheSameTime) {
  TestServer server(WithExperts());
  server.model().ShutGate();
  std::thread generate([&] { server.ExpectHealthy(); });
  server.model().AwaitStep();  // the worker cannot answer now
  absl::Notification refused;
  std::atomic<int> answered = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i <= ExpertUsageCall::kMaxReads; ++i) {
    readers.emplace_back([&] {
      const grpc::Status status =
          GetUsage(server, UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL)).status;
      if (status.ok()) {
        ++answered;
      } else {
        EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
        refused.Notify();
      }
    });
  }
  refused.WaitForNotification();
  server.model().OpenGate();
  for (std::thread& reader : readers) reader.join();
  generate.join();
  EXPECT_EQ(answered, ExpertUsageCall::kMaxReads);
  EXPECT_TRUE(GetUsage(server, UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL)).status.ok());
}

TEST(ExpertServiceTest, AReaderThatLeavesGivesItsPlaceBack) {
  TestServer server(WithExperts());
  const v1::GetExpertUsageRequest request = UsageRequest(kLayers[2], v1::USAGE_WINDOW_TOTAL);
  for (int i = 0; i < 3 * ExpertUsageCall::kMaxReads; ++i) {
    grpc::ClientContext context;
    const auto reader = server.experts().GetExpertUsage(&context, request);
    context.TryCancel();
    (void)reader->Finish();
  }
  Usage usage;  // the client may know of the end before the server
  do {
    usage = GetUsage(server, request);
  } while (usage.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(usage.status.ok());
}

TEST(ExpertServiceTest, ReadsLayerAfterLayerAsOftenAsOneLikes) {
  TestServer server(WithExperts());
  for (int i = 0; i < 10 * ExpertUsageCall::kMaxReads; ++i) {
    const Usage usage = GetUsage(server, UsageRequest(kLayers[0], v1::USAGE_WINDOW_TOTAL));
    ASSERT_TRUE(usage.status.ok()) << usage.status.error_message();
  }
}

TEST(ExpertServiceTest, WatchAnswersAtOnceAndThenInEveryInterval) {
  TestServer server(WithExperts());
  v1::GenerateRequest traced = GreedyRequest(1);
  traced.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_FULL);
  v1::GenerateResponse response;
  grpc::ClientContext traced_context;
  ASSERT_TRUE(server.inference().Generate(&traced_context, traced, &response).ok());
  const v1::LayerTrace& trace = response.expert_trace().layers(1);
  v1::WatchExpertSummaryRequest request;
  request.set_window(v1::USAGE_WINDOW_TOTAL);
  request.mutable_interval()->set_seconds(3);
  grpc::ClientContext context;
  const auto reader = server.experts().WatchExpertSummary(&context, request);
  v1::WatchExpertSummaryResponse summary;
  ASSERT_TRUE(reader->Read(&summary));
  EXPECT_EQ(summary.time().seconds(), 1'000'000);
  ASSERT_EQ(summary.layers_size(), 3);
  const Usage usage = GetUsage(server, UsageRequest(kLayers[1], v1::USAGE_WINDOW_TOTAL));
  const ExpertFigures figures = ComputeExpertFigures({.selections = usage.selections,
                                                      .scores = usage.score_sums,
                                                      .squared_scores = SquaredScores(trace),
                                                      .top_k = 4});
  const v1::LayerSummary& layer = summary.layers(1);
  EXPECT_EQ(layer.layer(), 1);
  EXPECT_EQ(layer.kind(), v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY);
  EXPECT_EQ(layer.num_experts(), 64);
  EXPECT_EQ(layer.tokens(), trace.tokens());
  EXPECT_EQ(layer.selections(), 4 * trace.tokens());
  EXPECT_EQ(layer.used_ratio(), figures.used_ratio);
  EXPECT_EQ(layer.used_expected_ratio(), figures.used_expected_ratio);
  EXPECT_EQ(layer.unevenness_nats(), figures.by_score.nats);
  EXPECT_NEAR(layer.unevenness_expected_nats(), figures.by_score.expected_nats, 1e-9);
  EXPECT_GT(layer.unevenness_expected_nats(), 0);
  EXPECT_EQ(layer.effective_experts(), figures.effective_experts);
  EXPECT_EQ(layer.gini(), figures.gini);
  EXPECT_EQ(layer.top_1_percent_share(), figures.top_share[1]);

  for (int i = 1; i <= 3; ++i) {
    server.ExpectHealthy();
    server.clock().Advance(absl::Seconds(3));
    server.answers().Wake();
    ASSERT_TRUE(reader->Read(&summary));
    EXPECT_EQ(summary.layers(0).tokens(), 2 * (i + 1));
    EXPECT_EQ(summary.time().seconds(), 1'000'000 + 3 * i);
  }
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  server.ExpectHealthy();
}

TEST(ExpertServiceTest, GivesOutOneSummaryForASecond) {
  TestServer server(WithExperts());
  v1::WatchExpertSummaryRequest request;
  request.set_window(v1::USAGE_WINDOW_RECENT);
  const auto tokens = [&] {
    grpc::ClientContext context;
    const auto reader = server.experts().WatchExpertSummary(&context, request);
    v1::WatchExpertSummaryResponse summary;
    EXPECT_TRUE(reader->Read(&summary));
    context.TryCancel();
    (void)reader->Finish();
    return summary.layers(0).tokens();
  };
  EXPECT_EQ(tokens(), 0);
  server.ExpectHealthy();
  EXPECT_EQ(tokens(), 0) << "the same summary";
  server.clock().Advance(absl::Seconds(1));
  EXPECT_EQ(tokens(), 2);
}

// Its next summary is due in a day.
TEST(ExpertServiceTest, AWatchLeavesNoTimerBehind) {
  TestServer server(WithExperts());
  const size_t before = server.answers().num_timers();
  v1::WatchExpertSummaryRequest request;
  request.set_window(v1::USAGE_WINDOW_TOTAL);
  request.mutable_interval()->set_seconds(86'400);
  grpc::ClientContext context;
  const auto reader = server.experts().WatchExpertSummary(&context, request);
  v1::WatchExpertSummaryResponse summary;
  ASSERT_TRUE(reader->Read(&summary));
  EXPECT_EQ(server.answers().num_timers(), before + 1);
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (server.answers().num_timers() > before) std::this_thread::yield();
}

TEST(ExpertServiceTest, WatchersDoNotKeepTheServerFromStopping) {
  auto server = std::make_unique<TestServer>(WithExperts());
  v1::WatchExpertSummaryRequest request;
  request.set_window(v1::USAGE_WINDOW_TOTAL);
  grpc::ClientContext context;
  const auto reader = server->experts().WatchExpertSummary(&context, request);
  v1::WatchExpertSummaryResponse summary;
  ASSERT_TRUE(reader->Read(&summary));
  server->rpc().Shutdown(absl::InfinitePast(), absl::InfinitePast());
  EXPECT_FALSE(reader->Finish().ok());
}

}  // namespace
}  // namespace peerage
