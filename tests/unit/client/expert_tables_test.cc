#include "client/expert_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace peerage {
namespace {

using ::testing::HasSubstr;

TEST(ExpertLayerTableTest, ShowsEveryFigureOfALayer) {
  v1::WatchExpertSummaryResponse summary;
  v1::LayerSummary& layer = *summary.add_layers();
  layer.set_layer(1);
  layer.set_kind(v1::EXPERT_LAYER_KIND_PEER);
  layer.set_num_experts(4096);
  layer.set_tokens(1234);
  layer.set_selections(157'952);
  layer.set_used_ratio(0.1982);
  layer.set_used_expected_ratio(1);
  layer.set_unevenness_nats(2.52);
  layer.set_unevenness_bias_nats(0.013);
  layer.set_effective_experts(329.4);
  layer.set_gini(0.9);
  layer.set_top_1_percent_share(0.405);
  summary.add_layers()->set_kind(v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY);

  EXPECT_EQ(ExpertLayerTable(summary),
            "layer  kind  experts  tokens  selections    used  expected  unevenness   bias  "
            "effective   Gini  top 1 %\n"
            "    1  peer    4,096   1,234     157,952  19.8 %   100.0 %       2.520  0.013  "
            "      329  0.900   40.5 %\n"
            "    0  pkm         0       0           0   0.0 %     0.0 %       0.000  0.000  "
            "        0  0.000    0.0 %\n");
}

TEST(ExpertUsageReportTest, ListsTheMostUsedExpertsFirst) {
  ExpertUsage usage;
  usage.header.set_layer(2);
  usage.header.set_kind(v1::EXPERT_LAYER_KIND_PEER);
  usage.header.set_num_experts(5);
  usage.header.set_tokens(10);
  usage.header.set_selections(20);
  usage.header.mutable_window_end()->set_seconds(90);
  usage.selections = {5, 0, 10, 5, 0};
  usage.score_sums = {3, 0, 1, 0, 0};

  EXPECT_EQ(ExpertUsageReport(usage),
            "layer 2 (peer) used 3 of 5 experts: 10 tokens, 20 selections, "
            "1970-01-01T00:00:00Z to 1970-01-01T00:01:30Z\n"
            "expert  selections   share  share of scores\n"
            "     2          10  50.0 %           25.0 %\n"
            "     0           5  25.0 %           75.0 %\n"
            "     3           5  25.0 %            0.0 %\n");
}

TEST(ExpertTraceLinesTest, IsOneLineForEachLayer) {
  v1::ExpertTrace trace;
  v1::LayerTrace& layer = *trace.add_layers();
  layer.set_layer(1);
  layer.set_kind(v1::EXPERT_LAYER_KIND_PEER);
  layer.set_num_experts(4096);
  layer.set_selections(12'800);
  layer.set_distinct_experts(812);
  layer.set_entropy_nats(std::log(302));
  for (uint32_t id : {17, 5, 8, 9}) layer.add_top_expert_ids(id);
  for (double share : {0.031, 0.02, 0.01, 0.005}) layer.add_top_expert_shares(share);
  trace.add_layers()->set_kind(v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY);

  EXPECT_EQ(ExpertTraceLines(trace),
            "layer 1 used 812 of 4,096 experts in 12,800 selections, effectively 302; "
            "most used 17 (3.1 %), 5 (2.0 %), 8 (1.0 %)\n"
            "layer 0 (pkm) used 0 of 0 experts in 0 selections, effectively 1\n");
  EXPECT_EQ(ExpertTraceLines({}), "");
}

v1::GetExpertUsageResponse Chunk(uint32_t first, size_t selections, size_t scores) {
  v1::GetExpertUsageResponse response;
  response.mutable_chunk()->set_first_expert(first);
  response.mutable_chunk()->set_selections(std::string(selections, '\1'));
  response.mutable_chunk()->set_score_sums(std::string(scores, '\0'));
  return response;
}

TEST(ExpertUsageTest, TakesTheChunksThatFollowEachOther) {
  ExpertUsage usage;
  v1::GetExpertUsageResponse header;
  header.mutable_header()->set_num_experts(3);
  ASSERT_TRUE(usage.Add(header).ok());
  EXPECT_FALSE(usage.CheckComplete().ok());
  ASSERT_TRUE(usage.Add(Chunk(0, 16, 16)).ok());
  ASSERT_TRUE(usage.Add(Chunk(2, 8, 8)).ok());
  EXPECT_TRUE(usage.CheckComplete().ok());
  EXPECT_EQ(usage.selections, std::vector<uint64_t>(3, 0x0101010101010101));
  EXPECT_FALSE(usage.Add(Chunk(3, 8, 8)).ok()) << "one expert too many";
}

TEST(ExpertUsageTest, RefusesChunksThatDoNot) {
  for (const auto& chunk : {Chunk(1, 8, 8), Chunk(0, 8, 16), Chunk(0, 9, 9), Chunk(0, 32, 32)}) {
    ExpertUsage usage;
    usage.header.set_num_experts(3);
    EXPECT_EQ(usage.Add(chunk).code(), absl::StatusCode::kDataLoss);
  }
}

TEST(ExpertNamesTest, NamesTheExpertsOfMixturesAndCountsTheOthers) {
  v1::ListModelsResponse response;
  v1::ExpertLayer& layer = *response.add_models()->add_expert_layers();
  layer.set_layer(3);
  layer.set_kind(v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
  layer.add_expert_names("base");
  layer.add_expert_names("law");
  const ExpertNames names(response);

  EXPECT_EQ(names.Of(3, v1::EXPERT_LAYER_KIND_MIXTURE_FFN, 1), "law");
  EXPECT_EQ(names.Of(3, v1::EXPERT_LAYER_KIND_MIXTURE_FFN, 2), "2");
  EXPECT_EQ(names.Of(3, v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION, 1), "1");
  EXPECT_EQ(ExpertNames().Of(0, v1::EXPERT_LAYER_KIND_PEER, 1000), "1000");
}

}  // namespace
}  // namespace peerage
