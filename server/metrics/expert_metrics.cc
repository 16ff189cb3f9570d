#include "server/metrics/expert_metrics.h"

#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/experts/expert_figures.h"
#include "model/experts/expert_numbers.h"

namespace peerage {
namespace {

using prometheus::Labels;
using prometheus::MetricType;
using enum ExpertMetricsLevel;

constexpr int kHottest = 10;
constexpr int kUsageBuckets = 17;  // 0, 1, 2-3, ... and all from 2^15 on

const prometheus::Histogram::BucketBoundaries kStatsSeconds = {.0001, .0005, .001, .005, .01,
                                                               .05,   .1,    .5,   1,    5};

prometheus::Histogram& AddStage(const char* stage, const std::string& model_name,
                                prometheus::Registry& registry) {
  return prometheus::BuildHistogram()
      .Name("peerage_expert_stats_seconds")
      .Help("Processor time that these figures take, a layer and stage.")
      .Labels({{"model_name", model_name}})
      .Register(registry)
      .Add({{"stage", stage}}, kStatsSeconds);
}

std::string UsageBucket(int bucket) {
  if (bucket < 2) return absl::StrCat(bucket);
  const uint64_t first = uint64_t{1} << (bucket - 1);
  if (bucket == kUsageBuckets - 1) return absl::StrCat(">=", first);
  return absl::StrCat(first, "-", 2 * first - 1);
}

// Experts by powers of two of their selections.
std::array<uint64_t, kUsageBuckets> ExpertsByUsage(absl::Span<const uint64_t> selections) {
  std::array<uint64_t, kUsageBuckets> experts = {};
  for (const uint64_t count : selections) {
    ++experts[std::min<int>(std::bit_width(count), kUsageBuckets - 1)];
  }
  return experts;
}

}  // namespace

// Families in the order in which they were first added to.
class ExpertMetrics::Families {
 public:
  void Add(MetricType type, const char* name, const char* help, const Labels& labels,
           double value) {
    const auto [it, is_new] = index_.emplace(name, families_.size());
    if (is_new) families_.push_back({name, help, type, {}});
    prometheus::ClientMetric& metric = families_[it->second].metric.emplace_back();
    for (const auto& [label, text] : labels) metric.label.push_back({label, text});
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  }

  const std::vector<prometheus::MetricFamily>& all() const { return families_; }

 private:
  std::vector<prometheus::MetricFamily> families_;
  std::map<std::string, size_t> index_;
};

// Adds the series of one layer.
class ExpertMetrics::LayerSeries {
 public:
  LayerSeries(const std::string& model_name, const ExpertLayer& layer, ExpertMetricsLevel level,
              Families& families)
      : layer_(layer),
        level_(level),
        families_(families),
        labels_{{"model_name", model_name},
                {"layer", absl::StrCat(layer.layer)},
                {"kind", std::string(ChoiceName(kExpertLayerKinds, layer.kind))}} {}

  void Add(const LayerWindows& windows) {
    AddCounters(windows.since_start);
    Gauge("peerage_expert_count", "Experts of a layer.", {}, layer_.num_experts);
    if (windows.recent.has_value()) AddWindow("recent", *windows.recent);
    const ExpertFigures total = AddWindow("total", windows.total);
    if (level_ < kStandard) return;
    Gauge("peerage_expert_unused", "Experts never selected in the total window.", {},
          static_cast<double>(total.unused));
    Gauge("peerage_expert_unused_expected", "What an even router would leave unused by chance.", {},
          (1 - total.used_expected_ratio) * layer_.num_experts);
    if (windows.recent.has_value()) {
      Gauge("peerage_expert_drift_nats",
            "Jensen-Shannon divergence of the recent window's selections from others.",
            {{"against", "total"}},
            ExpertDrift(windows.recent->selections, windows.total.selections));
    }
    AddHottest(windows.total, total.selections);
    if (level_ < kFull) return;
    const auto experts = ExpertsByUsage(windows.total.selections);
    for (int bucket = 0; bucket < kUsageBuckets; ++bucket) {
      Gauge("peerage_experts_by_usage", "Experts by their selections in the total window.",
            {{"bucket", UsageBucket(bucket)}}, static_cast<double>(experts[bucket]));
    }
  }

 private:
  Labels With(const Labels& more) const {
    Labels labels = labels_;
    labels.insert(more.begin(), more.end());
    return labels;
  }
  void Gauge(const char* name, const char* help, const Labels& more, double value) {
    families_.Add(MetricType::Gauge, name, help, With(more), value);
  }
  void Counter(const char* name, const char* help, const Labels& more, double value) {
    families_.Add(MetricType::Counter, name, help, With(more), value);
  }

  // Every token picks as many.
  void AddCounters(const ExpertUsage& since_start) {
    Counter("peerage_expert_selections_total", "Selections of experts, by all tokens and heads.",
            {}, static_cast<double>(since_start.tokens) * layer_.picks_per_token());
    if (!layer_.is_mixture() || layer_.num_experts > kMostNamedExperts) return;
    for (uint32_t i = 0; i < layer_.num_experts; ++i) {
      const Labels expert = {{"expert", layer_.expert_name(i)}};
      Counter("peerage_mixture_expert_selections_total", "Selections of a mixture's expert.",
              expert, static_cast<double>(since_start.selections[i]));
      Counter("peerage_mixture_expert_score_total", "Sum of the weights of those selections.",
              expert, since_start.score_sums[i]);
    }
  }

  ExpertFigures AddWindow(const std::string& window, const ExpertUsage& usage) {
    const ExpertFigures figures = FiguresOf(layer_, usage);
    const Labels of_window = {{"window", window}};
    Gauge("peerage_expert_window_seconds", "Length of a window of expert usage.", of_window,
          absl::ToDoubleSeconds(usage.end - usage.start));
    Gauge("peerage_expert_window_selections", "Selections in a window.", of_window,
          static_cast<double>(figures.selections));
    Gauge("peerage_expert_used_ratio", "Share of the experts with a selection.", of_window,
          figures.used_ratio);
    Gauge("peerage_expert_used_expected_ratio", "The same of an even router, by chance.", of_window,
          figures.used_expected_ratio);
    AddUnevenness(window, "score", figures.by_score);
    if (level_ < kStandard) return figures;
    AddUnevenness(window, "count", figures.by_count);
    Gauge("peerage_expert_effective",
          "As many experts, used evenly, would have this entropy: exp of it.",
          {{"window", window}, {"weighting", "score"}}, figures.effective_experts);
    Gauge("peerage_expert_gini", "Gini coefficient of the selections: 0 is even.", of_window,
          figures.gini);
    for (size_t i = 0; i < kTopShares.size(); ++i) {
      Gauge("peerage_expert_top_share_ratio",
            "Share of the selections that the most selected part of the experts took.",
            {{"window", window}, {"top", absl::StrCat(kTopShares[i])}}, figures.top_share[i]);
    }
    return figures;
  }

  void AddUnevenness(const std::string& window, const std::string& weighting,
                     const ExpertFigures::Unevenness& unevenness) {
    const Labels labels = {{"window", window}, {"weighting", weighting}};
    Gauge("peerage_expert_unevenness_nats",
          "Kullback-Leibler divergence of the experts' use from an even one.", labels,
          unevenness.nats);
    if (level_ < kStandard) return;
    Gauge("peerage_expert_unevenness_expected_nats", "The same of an even router, by chance.",
          labels, unevenness.expected_nats);
  }

  // The rank is the label, so that series stay the same while experts come and go.
  void AddHottest(const ExpertUsage& usage, uint64_t selections) {
    const std::vector<uint32_t> ids = MostUsedExperts(usage.selections, usage.score_sums, kHottest);
    for (size_t i = 0; i < ids.size(); ++i) {
      const Labels rank = {{"rank", absl::StrCat(i + 1)}};
      Gauge("peerage_expert_hot_index", "Id of the expert with this rank by selections.", rank,
            ids[i]);
      Gauge("peerage_expert_hot_share_ratio", "Its share of the selections.", rank,
            selections == 0
                ? 0.0
                : static_cast<double>(usage.selections[ids[i]]) / static_cast<double>(selections));
    }
  }

  const ExpertLayer& layer_;
  const ExpertMetricsLevel level_;
  Families& families_;
  const Labels labels_;
};

ExpertMetrics::ExpertMetrics(const std::string& model_name, std::vector<ExpertLayer> layers,
                             ExpertUsageMode mode, ExpertMetricsLevel level)
    : model_name_(model_name),
      layers_(level == kOff || mode == ExpertUsageMode::kOff ? std::vector<ExpertLayer>()
                                                             : std::move(layers)),
      level_(level),
      sum_seconds_(AddStage("sum", model_name, costs_)),
      figure_seconds_(AddStage("figures", model_name, costs_)) {
  if (layers_.empty()) return;
  for (const ExpertLayer& layer : layers_) {
    ExpertUsage unused;
    unused.selections.resize(layer.num_experts);
    unused.score_sums.resize(layer.num_experts);
    const bool recent = IsKept(UsageWindow::kRecent, mode);
    Add({.recent = recent ? std::optional(unused) : std::nullopt,
         .total = unused,
         .since_start = unused});
  }
  EndRound(absl::UnixEpoch());
}

void ExpertMetrics::Add(const LayerWindows& windows) {
  if (next_ == nullptr) next_ = std::make_shared<Families>();
  LayerSeries(model_name_, layers_[num_updated_++], level_, *next_).Add(windows);
}

void ExpertMetrics::Update(const LayerWindows& windows) {
  const absl::Duration begin = ThreadTime();
  Add(windows);
  figure_seconds_.Observe(absl::ToDoubleSeconds(ThreadTime() - begin));
  sum_seconds_.Observe(absl::ToDoubleSeconds(windows.sum_time));
}

void ExpertMetrics::AbandonRound() {
  next_ = nullptr;
  num_updated_ = 0;
}

void ExpertMetrics::EndRound(absl::Time now) {
  next_->Add(MetricType::Gauge, "peerage_expert_stats_timestamp_seconds",
             "When the figures of experts were computed, in seconds since 1970.",
             {{"model_name", model_name_}}, absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  {
    absl::MutexLock lock(&mu_);
    latest_ = next_;
  }
  AbandonRound();
}

std::vector<prometheus::MetricFamily> ExpertMetrics::Collect() const {
  std::shared_ptr<const Families> latest;
  {
    absl::MutexLock lock(&mu_);
    latest = latest_;
  }
  if (latest == nullptr) return {};
  std::vector<prometheus::MetricFamily> families = latest->all();
  for (prometheus::MetricFamily& family : costs_.Collect()) families.push_back(std::move(family));
  return families;
}

void ExpertMetricsUpdates::Start() {
  if (!metrics_.layers().empty()) lane_.Run([this] { UpdateFrom(0); });
}

void ExpertMetricsUpdates::UpdateFrom(size_t expert_layer) {
  if (expert_layer == metrics_.layers().size()) {
    metrics_.EndRound(clock_.Now());
    lane_.RunAt(clock_.Now() + kInterval, [this] { UpdateFrom(0); });
    return;
  }
  usage_.ReadWindows(static_cast<int>(expert_layer),
                     [this, expert_layer](const absl::StatusOr<LayerWindows>& windows) {
                       if (!windows.ok()) return metrics_.AbandonRound();
                       metrics_.Update(*windows);
                       UpdateFrom(expert_layer + 1);
                     });
}

}  // namespace peerage
