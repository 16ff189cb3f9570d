#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "model/expert_score.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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

template <typename T>
std::vector<T> Values(const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
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

}  // namespace
}  // namespace peerage
