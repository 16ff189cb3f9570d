#include "server/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr int64_t kMib = int64_t{1} << 20;

MemoryRequest SmallModel() {
  return {.weights_bytes = 100 * kMib,
          .workspace_bytes = 10 * kMib,
          .kv_block_bytes = 32 * 1024,
          .kv_block_tokens = 32,
          .context_length = 2048,
          .max_sequences = 4,
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

TEST(MemoryPlanTest, CountsWhatExpertUsageAndTracesTake) {
  MemoryRequest request = SmallModel();
  request.expert_usage_bytes = 600 * kMib;
  request.expert_trace_bytes = 40 * kMib;
  request.kv_cache_mib = 250;
  const auto plan = PlanMemory(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->ToString(),
              HasSubstr("workspace 10.0 MiB + expert usage 600.0 MiB + traces 40.0 MiB = "
                        "1000.0 MiB of 1000.0 MiB available"));

  request.kv_cache_mib = 251;
  EXPECT_THAT(std::string(PlanMemory(request).status().message()), HasSubstr("--expert-usage"));
}

TEST(MemoryPlanTest, WorkersShareWeightsAndHaveTheRestEach) {
  MemoryRequest request = SmallModel();
  request.workers = 3;
  request.expert_usage_bytes = 20 * kMib;
  const auto plan = PlanMemory(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->kv_cache_tokens, 3 * 4 * 2048);
  EXPECT_EQ(plan->total_bytes(), (100 + 3 * (8 + 10 + 20)) * kMib);
  EXPECT_THAT(plan->ToString(), EndsWith("of 1000.0 MiB available, for 3 workers that share the "
                                         "weights"));

  request.kv_cache_mib = 810;  // of all
  EXPECT_TRUE(PlanMemory(request).ok());
  request.kv_cache_mib = 811;
  EXPECT_EQ(PlanMemory(request).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(MemoryPlanTest, RefusesWeightsThatAloneDoNotFit) {
  MemoryRequest request = SmallModel();
  request.weights_bytes = 2000 * kMib;
  EXPECT_EQ(PlanMemory(request).status().code(), absl::StatusCode::kResourceExhausted);
}

MemoryRequest ModelOnADevice() {
  MemoryRequest request = SmallModel();
  request.device = "cuda:0";
  request.expert_usage_bytes = 20 * kMib;
  request.expert_trace_bytes = 30 * kMib;
  request.host = HostMemory{.expert_usage_bytes = 300 * kMib,
                            .expert_trace_bytes = 400 * kMib,
                            .available_bytes = 700 * kMib};
  return request;
}

TEST(MemoryPlanTest, KeepsTheDevicesMemoryAndTheHostsApart) {
  const auto plan = PlanMemory(ModelOnADevice());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->ToString(),
            "cuda:0: weights 100.0 MiB + KV cache 8.0 MiB (8192 tokens) + workspace 10.0 MiB + "
            "expert usage 20.0 MiB + traces 30.0 MiB = 168.0 MiB of 1000.0 MiB free; host: "
            "expert usage 300.0 MiB + traces 400.0 MiB = 700.0 MiB of 700.0 MiB available");
}

TEST(MemoryPlanTest, SaysNothingOfAHostThatHoldsNothing) {
  MemoryRequest request = ModelOnADevice();
  request.host = HostMemory{.available_bytes = 700 * kMib};
  const auto plan = PlanMemory(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->ToString(), EndsWith("= 168.0 MiB of 1000.0 MiB free"));
}

TEST(MemoryPlanTest, LeavesATenthOfWhatTheRestLeavesOnADevice) {
  MemoryRequest request = ModelOnADevice();  // 160 MiB without a KV cache
  request.max_sequences = 4096;
  const auto plan = PlanMemory(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->kv_cache_bytes, 756 * kMib);

  request.kv_cache_mib = 840;
  EXPECT_TRUE(PlanMemory(request).ok()) << "whoever asks may have all of it";
}

TEST(MemoryPlanTest, RefusesWhatDoesNotFitIntoTheDeviceOrBesideIt) {
  MemoryRequest request = ModelOnADevice();
  request.kv_cache_mib = 841;
  auto plan = PlanMemory(request);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(plan.status().message()),
              AllOf(HasSubstr("does not fit into the memory of cuda:0"),
                    HasSubstr("= 1001.0 MiB of 1000.0 MiB free"), HasSubstr("--kv-cache-mib")));

  request = ModelOnADevice();
  request.host->available_bytes = 700 * kMib - 1;
  plan = PlanMemory(request);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(plan.status().message()),
              AllOf(HasSubstr("does not fit into the host's memory"),
                    EndsWith("; lower --expert-usage and --max-trace-mib")));

  request = ModelOnADevice();
  request.weights_bytes = 2000 * kMib;
  EXPECT_EQ(PlanMemory(request).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(MemoryPlanTest, CountsWholeBlocks) {
  MemoryRequest request = SmallModel();
  request.context_length = 33;  // two blocks of 32
  const auto plan = PlanMemory(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->kv_cache_tokens, 4 * 2 * 32);
}

}  // namespace
}  // namespace peerage
