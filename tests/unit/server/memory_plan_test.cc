#include "server/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace peerage {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMib = int64_t{1} << 20;

MemoryRequest SmallModel() {
  return {.weights_bytes = 100 * kMib,
          .workspace_bytes = 10 * kMib,
          .kv_bytes_per_token = 1024,
          .context_length = 2048,
          .max_sequences = 4,
          .kv_cache_mib = std::nullopt,
          .available_bytes = 1000 * kMib};
}

TEST(MemoryPlanTest, HoldsEverySequenceWhenThatIsUnderAQuarterOfTheMemory) {
  const auto plan = PlanMemory(SmallModel());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->kv_cache_tokens, 4 * 2048);
  EXPECT_EQ(plan->kv_cache_bytes, 8 * kMib);
}

TEST(MemoryPlanTest, TakesAQuarterOfTheMemoryWhenSequencesWouldNeedMore) {
  MemoryRequest request = SmallModel();
  request.max_sequences = 4096;
  const auto plan = PlanMemory(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->kv_cache_bytes, 250 * kMib);
}

TEST(MemoryPlanTest, SurvivesSizesWhoseProductOverflows) {
  MemoryRequest request = SmallModel();
  request.context_length = INT64_MAX / 2;
  const auto plan = PlanMemory(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->kv_cache_bytes, 250 * kMib);
}

TEST(MemoryPlanTest, FillsTheMemoryToItsLastByteAndNoFurther) {
  MemoryRequest request = SmallModel();
  request.kv_cache_mib = 890;
  EXPECT_TRUE(PlanMemory(request).ok());

  request.kv_cache_mib = 891;
  const auto plan = PlanMemory(request);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("weights 100.0 MiB + KV cache 891.0 MiB (912384 tokens) + workspace "
                        "10.0 MiB = 1001.0 MiB of 1000.0 MiB available"));
}

TEST(MemoryPlanTest, RefusesWeightsThatAloneDoNotFit) {
  MemoryRequest request = SmallModel();
  request.weights_bytes = 2000 * kMib;
  EXPECT_EQ(PlanMemory(request).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(MemoryPlanTest, CountsKeysAndValuesOfEveryLayer) {
  ModelConfig config;
  config.num_kv_heads = 3;
  config.head_dim = 64;
  config.layers.resize(30);
  EXPECT_EQ(KvBytesPerToken(config), 2 * 3 * 64 * 4 * 30);
}

TEST(MemoryPlanTest, CountsMatricesInTheirTypeAndVectorsInF32) {
  const std::vector<TensorInfo> tensors = {{"matrix", TensorType::kQ4_1, {2, 64}, 80},
                                           {"norm", TensorType::kF16, {64}, 128}};
  EXPECT_EQ(WeightsBytes(tensors, "auto"), 2 * 2 * 20 + 64 * 4);
  EXPECT_EQ(WeightsBytes(tensors, "f32"), 2 * 64 * 4 + 64 * 4);
  EXPECT_EQ(WeightsBytes(tensors, "bf16"), 2 * 64 * 2 + 64 * 4);
  EXPECT_EQ(WeightsBytes(tensors, "q8_0"), 2 * 2 * 34 + 64 * 4);
}

TEST(MemoryPlanTest, CountsAWorkspaceThatGrowsWithTheStep) {
  ModelConfig config;
  config.hidden_size = 8;
  config.vocab_size = 100;
  config.layers = {LayerConfig{{FfnConfig{FfnKind::kDense, 16}}}};
  const int64_t one = WorkspaceBytes(config, 1);
  EXPECT_GT(one, 100 * 4);
  EXPECT_GT(WorkspaceBytes(config, 512), 100 * one / 4);
}

}  // namespace
}  // namespace peerage
