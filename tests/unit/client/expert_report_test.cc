#include "client/expert_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "client/expert_json.h"
#include "client/mixture_table.h"

namespace peerage::client {
namespace {

using ::testing::HasSubstr;

v1::LayerSummary PeerSummary(uint32_t index) {
  v1::LayerSummary layer;
  layer.set_layer(index);
  layer.set_kind(v1::EXPERT_LAYER_KIND_PEER);
  layer.set_num_experts(4096);
  layer.set_tokens(1234);
  layer.set_selections(157'952);
  layer.set_used_ratio(0.1982);
  layer.set_used_expected_ratio(1);
  layer.set_unevenness_nats(2.52);
  layer.set_unevenness_expected_nats(0.013);
  layer.set_effective_experts(329.4);
  layer.set_gini(0.9);
  layer.set_top_1_percent_share(0.405);
  return layer;
}

// `tokens` tokens that gave each expert so many selections and such a sum of scores.
MixtureLayer Mixture(uint32_t index, v1::ExpertLayerKind kind, std::vector<uint64_t> selections,
                     std::vector<double> scores) {
  MixtureLayer layer;
  layer.summary.set_layer(index);
  layer.summary.set_kind(kind);
  layer.summary.set_num_experts(static_cast<uint32_t>(selections.size()));
  layer.summary.set_tokens(10);
  layer.summary.set_selections(std::accumulate(selections.begin(), selections.end(), uint64_t{0}));
  layer.usage.header.set_layer(index);
  layer.usage.header.set_kind(kind);
  layer.usage.header.set_num_experts(layer.summary.num_experts());
  layer.usage.header.set_tokens(10);
  layer.usage.header.set_selections(layer.summary.selections());
  layer.usage.selections = std::move(selections);
  layer.usage.score_sums = std::move(scores);
  return layer;
}

constexpr auto kFfn = v1::EXPERT_LAYER_KIND_MIXTURE_FFN;
constexpr auto kAttention = v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION;

// A server whose layers 0 to 2 have mixtures of both kinds with these names.
v1::ListModelsResponse Models(const std::vector<std::string>& names) {
  v1::ListModelsResponse response;
  v1::Model& model = *response.add_models();
  for (uint32_t layer = 0; layer < 3; ++layer) {
    for (const auto kind : {kAttention, kFfn}) {
      v1::ExpertLayer& experts = *model.add_expert_layers();
      experts.set_layer(layer);
      experts.set_kind(kind);
      for (const std::string& name : names) experts.add_expert_names(name);
    }
  }
  return response;
}

TEST(ExpertLayerTableTest, ShowsEveryFigureOfALayer) {
  v1::WatchExpertSummaryResponse summary;
  *summary.add_layers() = PeerSummary(1);
  summary.add_layers()->set_kind(v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY);

  EXPECT_EQ(ExpertLayerTable(summary),
            "layer  kind  experts  tokens  selections    used  expected  unevenness  "
            "expected  effective   Gini  top 1 %\n"
            "    1  peer    4,096   1,234     157,952  19.8 %   100.0 %       2.520  "
            "   0.013        329  0.900   40.5 %\n"
            "    0  pkm         0       0           0   0.0 %     0.0 %       0.000  "
            "   0.000       0.00  0.000        -\n");
}

TEST(ExpertLayerTableTest, EndsWithTheMeanOfSeveralLayers) {
  v1::WatchExpertSummaryResponse summary;
  *summary.add_layers() = PeerSummary(1);
  *summary.add_layers() = PeerSummary(2);
  summary.mutable_layers(1)->set_used_ratio(0.5982);
  summary.mutable_layers(1)->set_effective_experts(1329.4);
  summary.mutable_layers(1)->set_gini(0.5);

  EXPECT_THAT(ExpertLayerTable(summary),
              HasSubstr("\n mean  peer    4,096   1,234     157,952  39.8 %   100.0 %       2.520"
                        "     0.013        829  0.700   40.5 %\n"));
}

TEST(ExpertLayerTableTest, LeavesOutWhatSaysNothingAboutAFewExperts) {
  v1::WatchExpertSummaryResponse summary;
  *summary.add_layers() = Mixture(0, kAttention, {10, 10, 10}, {5, 3, 2}).summary;
  *summary.add_layers() = Mixture(0, kFfn, {10, 0, 0}, {10, 0, 0}).summary;

  const std::string table = ExpertLayerTable(summary);

  EXPECT_THAT(table, HasSubstr("0.00      -        -\n")) << "soft: no Gini";
  EXPECT_THAT(table, HasSubstr("0.00  0.000        -\n"));
}

TEST(ExpertSummaryTextTest, SaysThatThereIsNothingToShow) {
  EXPECT_EQ(ExpertSummaryText({}, {}, {}), "the model has no experts\n");
}

TEST(ExpertSummaryTextTest, GivesMixturesOfFewExpertsATableOfTheirOwn) {
  v1::WatchExpertSummaryResponse summary;
  *summary.add_layers() = PeerSummary(7);
  const std::vector<MixtureLayer> mixtures = {
      Mixture(0, kFfn, {10, 0}, {10, 0}),
      Mixture(1, kFfn, std::vector<uint64_t>(9, 10), std::vector<double>(9, 1))};
  for (const MixtureLayer& mixture : mixtures) *summary.add_layers() = mixture.summary;

  const std::string text = ExpertSummaryText(summary, mixtures, {});

  const size_t mixture_table = text.find("\n\nshare of the scores");
  ASSERT_NE(mixture_table, std::string::npos) << text;
  EXPECT_LT(text.find("    7  peer "), mixture_table);
  EXPECT_LT(text.find("    1  mixture_ffn"), mixture_table) << "nine experts are too many";
  EXPECT_GT(text.find("    0  mixture_ffn"), mixture_table);
}

TEST(MixtureTableTest, ShowsWhatEachExpertCountsAndSumsUpEachKind) {
  std::vector<MixtureLayer> layers = {
      Mixture(0, kAttention, {10, 10}, {7.5, 2.5}), Mixture(0, kFfn, {10, 0}, {10, 0}),
      Mixture(1, kAttention, {10, 10}, {5.5, 4.5}), Mixture(1, kFfn, {4, 6}, {4, 6}),
      Mixture(2, kFfn, {0, 0}, {0, 0})};
  const double effective[] = {1.755, 1, 1.99, 1.96, 0};
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].summary.set_effective_experts(effective[i]);
  }
  layers[4].summary.set_tokens(0);

  EXPECT_EQ(
      MixtureTable(layers, ExpertNames(Models({"base", "law"}))),
      "share of the scores of each expert (with soft routing: its mean gate)\n"
      "layer  kind               routing  tokens  effective     base     law\n"
      "    0  mixture_attention  soft         10       1.75   75.0 %  25.0 %\n"
      "    0  mixture_ffn        top 1        10       1.00  100.0 %   0.0 %\n"
      "    1  mixture_attention  soft         10       1.99   55.0 %  45.0 %\n"
      "    1  mixture_ffn        top 1        10       1.96   40.0 %  60.0 %\n"
      "    2  mixture_ffn        -             0          -        -       -\n"
      " mean  mixture_attention  soft         10       1.87   65.0 %  35.0 %\n"
      " mean  mixture_ffn        top 1        10       1.48   70.0 %  30.0 %\n"
      "mixture_attention is least even in layer 0 (base 75.0 %), most even in layer 1 (base 55.0 "
      "%)\n"
      "mixture_ffn is least even in layer 0 (base 100.0 %), most even in layer 1 (law 60.0 %)\n");
}

TEST(MixtureTableTest, IsDividedWhereTheNamesDiffer) {
  const std::string text =
      MixtureTable({Mixture(0, kFfn, {10, 0}, {10, 0}), Mixture(1, kFfn, {10, 0, 0}, {10, 0, 0})},
                   ExpertNames(Models({"base", "b\n\x1b[31mRED"})));

  EXPECT_THAT(text, HasSubstr("   base  b\\n\\x1b[31mRED\n"));
  EXPECT_THAT(text, HasSubstr("   base  b\\n\\x1b[31mRED      2\n"));
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
            "expert  selections  share of selections  share of scores\n"
            "     2          10               50.0 %           25.0 %\n"
            "     0           5               25.0 %           75.0 %\n"
            "     3           5               25.0 %            0.0 %\n");
}

TEST(ExpertUsageReportTest, OfSoftRoutingShowsTheMeanGates) {
  const MixtureLayer layer = Mixture(1, kAttention, {10, 10, 10}, {2, 5, 3});

  EXPECT_THAT(ExpertUsageReport(layer.usage, ExpertNames(Models({"base", "law", "x\x1b[2J"}))),
              HasSubstr("\n  expert  mean gate\n"
                        "     law     50.0 %\n"
                        "x\\x1b[2J     30.0 %\n"
                        "    base     20.0 %\n"));
}

TEST(ExpertUsageJsonTest, HasTheCountsAndSharesOfEveryExpertOfAMixture) {
  const MixtureLayer layer = Mixture(1, kFfn, {3, 0, 7}, {1.5, 0, 6});

  const Json json = ExpertUsageJson(layer.usage, ExpertNames(Models({"base", "law"})));

  EXPECT_EQ(json["kind"], "mixture_ffn");
  EXPECT_EQ(json["selections"], 10);
  EXPECT_EQ(json["experts"], Json::parse(R"([
      {"id": 2, "selections": 7, "share_of_selections": 0.7, "score_sum": 6.0,
       "share_of_scores": 0.8},
      {"id": 0, "name": "base", "selections": 3, "share_of_selections": 0.3, "score_sum": 1.5,
       "share_of_scores": 0.2},
      {"id": 1, "name": "law", "selections": 0, "share_of_selections": 0.0, "score_sum": 0.0,
       "share_of_scores": 0.0}])"));
}

TEST(ExpertUsageJsonTest, StopsAtTheMostUsedOfAMillionExperts) {
  const MixtureLayer layer = Mixture(0, v1::EXPERT_LAYER_KIND_PEER, std::vector<uint64_t>(1 << 20),
                                     std::vector<double>(1 << 20));
  const Json json = ExpertUsageJson(layer.usage);
  EXPECT_EQ(json["experts"].size(), 256u);
  EXPECT_EQ(json["experts"][0]["share_of_scores"], nullptr) << "nothing was counted";
}

TEST(ExpertSummaryJsonTest, HoldsWhatTheTableHolds) {
  const std::vector<MixtureLayer> mixtures = {Mixture(0, kFfn, {10, 10}, {7.5, 2.5}),
                                              Mixture(1, kFfn, {10, 10}, {2.5, 7.5}),
                                              Mixture(2, kFfn, {0, 0}, {0, 0})};
  v1::WatchExpertSummaryResponse summary;
  *summary.add_layers() = PeerSummary(0);
  for (const MixtureLayer& mixture : mixtures) *summary.add_layers() = mixture.summary;

  const Json json = ExpertSummaryJson(summary, mixtures, ExpertNames(Models({"base", "law"})));

  EXPECT_EQ(json["layers"][0]["kind"], "peer");
  EXPECT_EQ(json["layers"][0]["selections"], 157'952);
  EXPECT_FALSE(json["layers"][0].contains("experts"));
  EXPECT_EQ(json["layers"][1]["routing"], "soft");
  EXPECT_EQ(json["layers"][1]["experts"].size(), 2u);
  EXPECT_EQ(json["layers"][1]["experts"][0]["share_of_scores"], 0.75);
  EXPECT_EQ(json["layers"][3]["experts"][1]["share_of_scores"], nullptr);
  ASSERT_EQ(json["means"].size(), 1u);
  EXPECT_EQ(json["means"][0]["kind"], "mixture_ffn");
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
            "largest shares of the scores: 17 3.1 %, 5 2.0 %, 8 1.0 %\n"
            "layer 0 (pkm) used 0 of 0 experts in 0 selections, effectively 1.00\n");
  EXPECT_EQ(ExpertTraceLines({}), "");
}

TEST(ExpertTraceLinesTest, EscapesNames) {
  v1::ExpertTrace trace;
  v1::LayerTrace& layer = *trace.add_layers();
  layer.set_kind(kFfn);
  layer.add_top_expert_ids(0);
  layer.add_top_expert_shares(0.813);

  EXPECT_THAT(ExpertTraceLines(trace, ExpertNames(Models({"b\n\t\x1b[31mRED"}))),
              HasSubstr("scores: b\\n\\t\\x1b[31mRED 81.3 %\n"));
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
  EXPECT_EQ(names.Exact(3, v1::EXPERT_LAYER_KIND_MIXTURE_FFN, 2), "");
  EXPECT_EQ(names.Of(3, v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION, 1), "1");
  EXPECT_EQ(ExpertNames().Of(0, v1::EXPERT_LAYER_KIND_PEER, 1000), "1000");
}

}  // namespace
}  // namespace peerage::client
