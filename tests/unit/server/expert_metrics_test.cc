#include "server/metrics/expert_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/metric_family.h>

#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "model/experts/expert_figures.h"
#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using Values = std::map<std::string, double>;  // by name{labels}

// Gauges and counters by their names and labels, without the model's name.
Values ValuesOf(const ExpertMetrics& metrics) {
  Values values;
  for (const prometheus::MetricFamily& family : metrics.Collect()) {
    if (family.type == prometheus::MetricType::Histogram) continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::map<std::string, std::string> labels;
      for (const auto& label : metric.label) labels[label.name] = label.value;
      EXPECT_EQ(labels["model_name"], "m");
      labels.erase("model_name");
      std::string series = family.name;
      for (const auto& [name, value] : labels) series += "," + name + "=" + value;
      EXPECT_FALSE(values.contains(series)) << series << " is there twice";
      values[series] = family.type == prometheus::MetricType::Counter ? metric.counter.value
                                                                      : metric.gauge.value;
    }
  }
  return values;
}

// Two heads with six experts each, and a mixture.
std::vector<ExpertLayer> Layers() {
  return {{.layer = 3,
           .kind = ExpertLayerKind::kPeer,
           .num_experts = 12,
           .heads = 2,
           .top_k = 2,
           .expert_sets = 2},
          {.layer = 3,
           .kind = ExpertLayerKind::kMixtureFfn,
           .num_experts = 3,
           .heads = 1,
           .top_k = 1,
           .expert_names = {"law", "base", "maths"}}};
}

ExpertUsage Usage(std::vector<uint64_t> selections, uint64_t tokens, absl::Duration length) {
  ExpertUsage usage{.start = absl::FromUnixSeconds(100),
                    .end = absl::FromUnixSeconds(100) + length,
                    .tokens = tokens};
  for (const uint64_t count : selections) {
    usage.score_sums.push_back(0.5 * static_cast<double>(count));
    usage.squared_scores += 0.25 * static_cast<double>(count);
  }
  usage.selections = std::move(selections);
  return usage;
}

TEST(ExpertMetricsTest, ShowAnUnusedModelAtFirst) {
  const ExpertMetrics metrics({.model_name = "m", .layers = Layers()});
  const Values values = ValuesOf(metrics);
  EXPECT_EQ(values.at("peerage_expert_selections_total,kind=peer,layer=3"), 0);
  EXPECT_EQ(values.at("peerage_expert_count,kind=peer,layer=3"), 12);
  EXPECT_EQ(values.at("peerage_expert_unused,kind=mixture_ffn,layer=3"), 3);
  EXPECT_EQ(values.at("peerage_expert_unused_expected,kind=mixture_ffn,layer=3"), 3);
  EXPECT_EQ(values.at("peerage_expert_drift_nats,against=total,kind=peer,layer=3"), 0);
  EXPECT_EQ(values.at("peerage_mixture_expert_score_total,expert=law,kind=mixture_ffn,layer=3"), 0);
  EXPECT_EQ(values.at("peerage_expert_stats_timestamp_seconds"), 0);
}

TEST(ExpertMetricsTest, NumberExpertsWithoutNames) {
  const ExpertMetrics metrics(
      {.model_name = "m",
       .layers =
           {{.kind = ExpertLayerKind::kMixtureAttention, .num_experts = 3, .heads = 1, .top_k = 3}},
       .mode = ExpertUsageMode::kTotal,
       .level = ExpertMetricsLevel::kBasic});
  const Values values = ValuesOf(metrics);
  EXPECT_TRUE(values.contains(
      "peerage_mixture_expert_score_total,expert=2,kind=mixture_attention,layer=0"));
  EXPECT_FALSE(
      values.contains("peerage_expert_used_ratio,kind=mixture_attention,layer=0,"
                      "window=recent"));
}

TEST(ExpertMetricsTest, ShowWhatWindowsSay) {
  ExpertMetrics metrics({.model_name = "m",
                         .layers = Layers(),
                         .level = ExpertMetricsLevel::kFull,
                         .baseline = {{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {5, 0, 1}}});
  const LayerWindows peer = {
      .recent = Usage({0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 1, 1}, 2, absl::Seconds(30)),
      .total = Usage({1, 0, 3, 0, 0, 8, 2, 2, 2, 2, 2, 2}, 6, absl::Seconds(90)),
      .since_start = {.totals = {.tokens = 7, .step_distinct = 11, .bytes_read = 1100}}};
  const ExpertUsage mixture = Usage({5, 0, 1}, 6, absl::Seconds(90));
  const size_t series = ValuesOf(metrics).size();
  metrics.Update(peer);
  metrics.Update({.recent = mixture,
                  .total = mixture,
                  .since_start = {.totals = {.tokens = 6},
                                  .selections = mixture.selections,
                                  .score_sums = mixture.score_sums}});
  EXPECT_EQ(ValuesOf(metrics).at("peerage_expert_selections_total,kind=peer,layer=3"), 0)
      << "a round shows at its end";
  metrics.EndRound(absl::FromUnixSeconds(77));

  const Values values = ValuesOf(metrics);
  EXPECT_EQ(values.size(), series) << "all were there from the start";
  const auto peer_value = [&values](const std::string& name, const std::string& before = "",
                                    const std::string& after = "") {
    const auto found = values.find("peerage_expert" + name + before + ",kind=peer,layer=3" + after);
    EXPECT_NE(found, values.end()) << name << before << after;
    return found == values.end() ? NAN : found->second;
  };
  EXPECT_EQ(peer_value("_selections_total"), 7 * 4);
  EXPECT_EQ(peer_value("_step_distinct_total"), 11);
  EXPECT_EQ(peer_value("_bytes_read_total"), 1100);
  EXPECT_FALSE(values.contains("peerage_expert_bytes_read_total,kind=mixture_ffn,layer=3"));
  EXPECT_EQ(values.at("peerage_expert_window_seconds,window=recent"), 90) << "the last layer's";
  EXPECT_EQ(values.at("peerage_expert_window_selections,window=total"), 24 + 6);
  EXPECT_EQ(peer_value("_used_ratio", "", ",window=recent"), 4.0 / 12);
  // Of a set of 6, 2 selections a token: (2/3)^2 are left after two tokens.
  EXPECT_NEAR(peer_value("_used_expected_ratio", "", ",window=recent"), 1 - 4.0 / 9, 1e-12);
  EXPECT_NEAR(peer_value("_unused_expected"), 12 * std::pow(2.0 / 3, 6), 1e-12);
  EXPECT_EQ(peer_value("_unused"), 3);
  const ExpertFigures figures = ComputeExpertFigures({.selections = peer.total.selections,
                                                      .scores = peer.total.score_sums,
                                                      .squared_scores = peer.total.squared_scores,
                                                      .top_k = 2,
                                                      .expert_sets = 2});
  EXPECT_EQ(peer_value("_unevenness_nats", "", ",weighting=count,window=total"),
            figures.by_count.nats);
  EXPECT_EQ(peer_value("_unevenness_nats", "", ",weighting=score,window=total"),
            figures.by_score.nats);
  EXPECT_EQ(peer_value("_unevenness_expected_nats", "", ",weighting=score,window=total"),
            ExpectedUnevenness(12, 24));
  EXPECT_EQ(peer_value("_effective", "", ",weighting=score,window=total"),
            figures.effective_experts);
  EXPECT_EQ(peer_value("_gini", "", ",window=total"), figures.gini);
  EXPECT_DOUBLE_EQ(peer_value("_top_share_ratio", "", ",top=0.1,window=total"), 11.0 / 24);
  EXPECT_EQ(peer_value("_hot_index", "", ",rank=1"), 5);
  EXPECT_EQ(peer_value("_hot_share_ratio", "", ",rank=1"), 8.0 / 24);
  EXPECT_EQ(peer_value("_hot_index", "", ",rank=2"), 2);
  EXPECT_EQ(peer_value("_drift_nats", ",against=total"),
            ExpertDrift(peer.recent->selections, peer.total.selections));
  EXPECT_NEAR(peer_value("_drift_nats", ",against=baseline"), std::log(2), 1e-12);
  EXPECT_EQ(values.at("peerage_expert_drift_nats,against=baseline,kind=mixture_ffn,layer=3"), 0);
  EXPECT_EQ(peer_value("s_by_usage", ",bucket=0"), 3);
  EXPECT_EQ(peer_value("s_by_usage", ",bucket=2-3"), 7);
  EXPECT_EQ(peer_value("s_by_usage", ",bucket=8-15"), 1);
  EXPECT_EQ(peer_value("s_by_usage", ",bucket=>=32768"), 0);
  EXPECT_EQ(
      values.at("peerage_mixture_expert_selections_total,expert=law,kind=mixture_ffn,layer=3"), 5);
  EXPECT_EQ(values.at("peerage_mixture_expert_score_total,expert=maths,kind=mixture_ffn,layer=3"),
            0.5);
  EXPECT_EQ(values.at("peerage_expert_stats_timestamp_seconds"), 77);
}

// A PEER model of twelve layers at each level: no series for an expert.
TEST(ExpertMetricsTest, AreFew) {
  std::vector<ExpertLayer> layers;
  for (uint32_t layer = 0; layer < 12; ++layer) {
    layers.push_back(
        {.layer = layer, .num_experts = 10'000, .heads = 8, .top_k = 16, .num_sub_keys = 100});
  }
  const auto series = [&layers](ExpertMetricsLevel level) {
    size_t count = 0;
    for (const prometheus::MetricFamily& family :
         ExpertMetrics({.model_name = "m", .layers = layers, .level = level}).Collect()) {
      for (const prometheus::ClientMetric& metric : family.metric) {
        const bool histogram = family.type == prometheus::MetricType::Histogram;
        count += histogram ? metric.histogram.bucket.size() + 2 : 1;
      }
    }
    return count;
  };
  EXPECT_EQ(series(ExpertMetricsLevel::kOff), 0u);
  constexpr size_t kOfModel = 4 + 1 + 2 * 13;  // windows, time, costs
  EXPECT_EQ(series(ExpertMetricsLevel::kBasic), 12u * 8 + kOfModel);
  EXPECT_EQ(series(ExpertMetricsLevel::kStandard), 12u * 73 + kOfModel);
  EXPECT_EQ(series(ExpertMetricsLevel::kFull), 12u * 160 + kOfModel);
}

const prometheus::ClientMetric::Histogram* FindHistogram(
    const std::vector<prometheus::MetricFamily>& families, const std::string& name) {
  for (const prometheus::MetricFamily& family : families) {
    if (family.name == name) return &family.metric.at(0).histogram;
  }
  return nullptr;
}

TEST(ExpertMetricsTest, ShowHowSureRoutersAre) {
  ExpertMetrics metrics(
      {.model_name = "m", .layers = {{.num_experts = 4, .heads = 1, .top_k = 1}}});
  const ExpertUsage usage = Usage({1, 0, 0, 2}, 3, absl::Seconds(1));
  UsageTotals totals;
  for (const float mass : {0.25f, 0.5f, 1.0f}) totals.kept_mass.Add(mass);
  totals.router_entropy.Add(0);
  metrics.Update({.total = usage, .since_start = {totals, usage.selections, usage.score_sums, {}}});
  metrics.EndRound(absl::UnixEpoch());
  const auto families = metrics.Collect();

  const auto* mass = FindHistogram(families, "peerage_router_topk_mass_ratio");
  ASSERT_NE(mass, nullptr);
  EXPECT_EQ(mass->sample_count, 3u);
  EXPECT_EQ(mass->sample_sum, 1.75);
  std::map<double, uint64_t> buckets;
  for (const auto& bucket : mass->bucket) buckets[bucket.upper_bound] = bucket.cumulative_count;
  EXPECT_EQ(buckets.at(.1), 0u);
  EXPECT_EQ(buckets.at(.3), 1u);
  EXPECT_EQ(buckets.at(.5), 2u);
  EXPECT_EQ(buckets.at(.97), 2u);
  EXPECT_EQ(buckets.at(1), 3u);
  EXPECT_EQ(buckets.at(INFINITY), 3u);
  const auto* entropy = FindHistogram(families, "peerage_router_entropy_ratio");
  ASSERT_NE(entropy, nullptr);
  EXPECT_EQ(entropy->bucket.front().cumulative_count, 1u);
}

// Two heads on nine experts, the second head dead but for one sub-key of each half.
TEST(ExpertMetricsTest, ShowSubKeys) {
  ExpertMetrics metrics({.model_name = "m",
                         .layers = {{.num_experts = 9, .heads = 2, .top_k = 1, .num_sub_keys = 3}},
                         .level = ExpertMetricsLevel::kFull});
  ExpertUsage usage = Usage({1, 2, 3, 0, 0, 0, 0, 0, 4}, 5, absl::Seconds(1));
  usage.sub_keys = {2, 0, 1, 1, 1, 1, /*head 1*/ 3, 0, 0, 0, 3, 0};
  metrics.Update({.total = usage,
                  .since_start = {.selections = usage.selections,
                                  .score_sums = usage.score_sums,
                                  .before_reset = {.rows = {10, 0, 0}, .columns = {0, 0, 10}}}});
  metrics.EndRound(absl::UnixEpoch());
  const Values values = ValuesOf(metrics);
  const auto of = [&values](const std::string& name, int head, const std::string& axis) {
    return values.at("peerage_subkey_" + name + ",axis=" + axis + ",head=" + std::to_string(head) +
                     ",kind=peer,layer=0");
  };
  EXPECT_EQ(of("used_ratio", 0, "row"), 2.0 / 3);
  EXPECT_EQ(of("used_ratio", 0, "column"), 1);
  EXPECT_EQ(of("used_ratio", 1, "row"), 1.0 / 3);
  EXPECT_NEAR(of("entropy_ratio", 0, "row"),
              -(2.0 / 3 * std::log(2.0 / 3) + std::log(1.0 / 3) / 3) / std::log(3), 1e-12);
  EXPECT_NEAR(of("entropy_ratio", 0, "column"), 1, 1e-12);
  EXPECT_EQ(of("entropy_ratio", 1, "column"), 0);

  const auto families = metrics.Collect();
  const auto* rows = FindHistogram(families, "peerage_expert_row_selections");
  ASSERT_NE(rows, nullptr);
  ASSERT_EQ(rows->bucket.size(), 4u);
  EXPECT_EQ(rows->bucket[0].upper_bound, 0);
  EXPECT_EQ(rows->bucket[0].cumulative_count, 16u);
  EXPECT_EQ(rows->bucket[1].cumulative_count, 16u);
  EXPECT_EQ(rows->sample_count, 20u);
  const auto* columns = FindHistogram(families, "peerage_expert_column_selections");
  ASSERT_NE(columns, nullptr);
  EXPECT_EQ(columns->bucket[0].cumulative_count, 1u);
  EXPECT_EQ(columns->bucket[1].cumulative_count, 3u);
  EXPECT_EQ(columns->sample_count, 20u);
}

// A running engine, its lane, and metrics of its model.
class ExpertMetricsUpdatesTest : public EngineTest {
 protected:
  ~ExpertMetricsUpdatesTest() override { Stop(); }

  void StartWithExperts() {
    Start({.every_turn = [this](int, absl::Time now) { statistics_->Advance(now); }},
          {.expert_layers = Layers()}, [this](FakeModel* model) {
            statistics_ =
                std::make_unique<ExpertStatistics>(ExpertUsageMode::kRecent, model, clock_.Now());
          });
    lane_.emplace(&clock_);
    reader_ = std::make_unique<ExpertUsageReader>(
        ExpertUsageParts{engine_.get(), {statistics_.get()}, &*lane_, &clock_});
    updates_.emplace(reader_.get(), &*lane_, &clock_, &metrics_);
  }

  // As the server stops: first the worker, which gives the lane work.
  void Stop() {
    if (engine_ != nullptr) engine_->Stop();
    lane_.reset();
  }

  Values WaitForRoundAt(absl::Time time) {
    const double seconds = absl::ToDoubleSeconds(time - absl::UnixEpoch());
    while (true) {
      Values values = ValuesOf(metrics_);
      if (values.at("peerage_expert_stats_timestamp_seconds") == seconds) return values;
      lane_->Wake();
    }
  }

  void Reset() {
    absl::Notification done;
    reader_->Reset([&done](const absl::Status& status) {
      EXPECT_TRUE(status.ok());
      done.Notify();
    });
    done.WaitForNotification();
  }

  ExpertMetrics metrics_{{.model_name = "m", .layers = Layers()}};
  std::unique_ptr<ExpertStatistics> statistics_;
  std::optional<BackgroundLane> lane_;
  std::unique_ptr<ExpertUsageReader> reader_;
  std::optional<ExpertMetricsUpdates> updates_;
};

constexpr char kPeerSelections[] = "peerage_expert_selections_total,kind=peer,layer=3";
constexpr char kBaseSelections[] =
    "peerage_mixture_expert_selections_total,expert=base,kind=mixture_ffn,layer=3";
constexpr char kWindowSelections[] = "peerage_expert_window_selections,window=total";

TEST_F(ExpertMetricsUpdatesTest, ComeInEveryIntervalAndCountersOutliveAReset) {
  StartWithExperts();
  ASSERT_EQ(Submit(Generate({1, 2, 3}, 5)).sink->WaitDone(), absl::OkStatus());
  updates_->Start();
  const Values first = WaitForRoundAt(clock_.Now());
  EXPECT_EQ(first.at(kPeerSelections), 7 * 4);  // the last token is not computed
  EXPECT_EQ(first.at(kWindowSelections), 7 * 4 + 7 * 1);
  double base = 0;
  for (int position = 0; position < 3; ++position) {
    base += FakeModel::PicksOf(Layers()[1], 1 + position, position).ids[0] == 1;
  }
  EXPECT_GE(first.at(kBaseSelections), base);

  Reset();
  clock_.Advance(ExpertMetricsUpdates::kInterval);
  const Values second = WaitForRoundAt(clock_.Now());
  EXPECT_EQ(second.at(kPeerSelections), 7 * 4);
  EXPECT_EQ(second.at(kBaseSelections), first.at(kBaseSelections));
  EXPECT_EQ(second.at(kWindowSelections), 0);

  ASSERT_EQ(Submit(Generate({4, 5}, 1)).sink->WaitDone(), absl::OkStatus());
  Reset();
  clock_.Advance(ExpertMetricsUpdates::kInterval);
  const Values third = WaitForRoundAt(clock_.Now());
  EXPECT_EQ(third.at(kPeerSelections), 9 * 4);
  EXPECT_EQ(third.at(kWindowSelections), 0);
}

TEST(ExpertMetricsPauseTest, IsLongerAfterALongRound) {
  EXPECT_EQ(ExpertMetricsUpdates::PauseAfter(absl::Milliseconds(20)), absl::Seconds(15));
  EXPECT_EQ(ExpertMetricsUpdates::PauseAfter(absl::Milliseconds(500)), absl::Seconds(50));
}

TEST_F(ExpertMetricsUpdatesTest, EndWithTheEngine) {
  StartWithExperts();
  engine_->Stop();
  updates_->Start();
  lane_.reset();
  EXPECT_EQ(ValuesOf(metrics_).at(kPeerSelections), 0);
}

TEST(ExpertDriftTest, IsZeroForTheSameAndLn2ForNothingInCommon) {
  EXPECT_EQ(ExpertDrift({{1, 2, 3}}, {{2, 4, 6}}), 0);
  EXPECT_NEAR(ExpertDrift({{1, 2, 0, 0}}, {{0, 0, 5, 1}}), std::log(2), 1e-12);
  EXPECT_EQ(ExpertDrift({{0, 0}}, {{1, 2}}), 0);
  // By hand: p = (1, 0), q = (1/2, 1/2): (ln(4/3) + ln(2/3)/2 + ln(2)/2) / 2.
  EXPECT_NEAR(ExpertDrift({{9, 0}}, {{4, 4}}),
              (std::log(4.0 / 3) + std::log(2.0 / 3) / 2 + std::log(2.0) / 2) / 2, 1e-12);
}

}  // namespace
}  // namespace peerage
