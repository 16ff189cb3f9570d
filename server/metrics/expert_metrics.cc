#include "server/metrics/expert_metrics.h"

#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <map>
#include <numeric>
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
    ++experts[std::min(static_cast<int>(std::bit_width(count)), kUsageBuckets - 1)];
  }
  return experts;
}

}  // namespace

// Families in the order in which they were first added to.
class ExpertMetrics::Families {
 public:
  // What a series shows is up to the caller.
  prometheus::ClientMetric& Add(MetricType type, const char* name, const char* help,
                                const Labels& labels) {
    const auto [it, is_new] = index_.emplace(name, families_.size());
    if (is_new) families_.push_back({name, help, type, {}});
    prometheus::ClientMetric& metric = families_[it->second].metric.emplace_back();
    for (const auto& [label, text] : labels) metric.label.push_back({label, text});
    return metric;
  }

  const std::vector<prometheus::MetricFamily>& all() const { return families_; }

 private:
  std::vector<prometheus::MetricFamily> families_;
  std::map<std::string, size_t> index_;
};

// Adds the series of one layer.
class ExpertMetrics::LayerSeries {
 public:
  LayerSeries(const Options& options, size_t index, Families& families)
      : layer_(options.layers[index]),
        level_(options.level),
        families_(families),
        labels_{{"model_name", options.model_name},
                {"layer", absl::StrCat(layer_.layer)},
                {"kind", std::string(ChoiceName(kExpertLayerKinds, layer_.kind))}} {
    if (!options.baseline.empty()) baseline_ = options.baseline[index];
  }

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
      const absl::Span<const uint64_t> recent = windows.recent->selections;
      AddDrift("total", ExpertDrift(recent, windows.total.selections));
      if (!baseline_.empty()) AddDrift("baseline", ExpertDrift(recent, baseline_));
    }
    AddHottest(windows.total, total.selections);
    AddRouter(windows.since_start.totals);
    if (level_ < kFull) return;
    AddSubKeys(windows);
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
    families_.Add(MetricType::Gauge, name, help, With(more)).gauge.value = value;
  }
  void Counter(const char* name, const char* help, const Labels& more, double value) {
    families_.Add(MetricType::Counter, name, help, With(more)).counter.value = value;
  }

  // `bounds` are ascending; `counts` [bounds]: of values at most a bound and above the one before.
  void Histogram(const char* name, const char* help, const Labels& more,
                 absl::Span<const double> bounds, absl::Span<const uint64_t> counts, double sum) {
    auto& histogram = families_.Add(MetricType::Histogram, name, help, With(more)).histogram;
    for (size_t i = 0; i < bounds.size(); ++i) {
      histogram.sample_count += counts[i];
      histogram.bucket.push_back({histogram.sample_count, bounds[i]});
    }
    histogram.bucket.push_back({histogram.sample_count, std::numeric_limits<double>::infinity()});
    histogram.sample_sum = sum;
  }

  // Every token picks as many.
  void AddCounters(const UsageSinceStart& since_start) {
    const UsageTotals& totals = since_start.totals;
    Counter("peerage_expert_selections_total", "Selections of experts, by all tokens and heads.",
            {}, static_cast<double>(totals.tokens) * layer_.picks_per_token());
    if (!layer_.is_mixture() || layer_.num_experts > kMostNamedExperts) return;
    for (uint32_t i = 0; i < layer_.num_experts; ++i) {
      const Labels expert = {{"expert", layer_.expert_name(i)}};
      Counter("peerage_mixture_expert_selections_total", "Selections of a mixture's expert.",
              expert, static_cast<double>(since_start.selections[i]));
      Counter("peerage_mixture_expert_score_total", "Sum of the weights of those selections.",
              expert, since_start.score_sums[i]);
    }
  }

  void AddDrift(const char* against, double nats) {
    Gauge("peerage_expert_drift_nats",
          "Jensen-Shannon divergence of the recent window's selections from others.",
          {{"against", against}}, nats);
  }

  // What steps read, and how sure the router was.
  void AddRouter(const UsageTotals& totals) {
    Counter("peerage_expert_step_distinct_total", "Different experts of each step, summed.", {},
            static_cast<double>(totals.step_distinct));
    if (!layer_.is_mixture()) {
      Counter("peerage_expert_bytes_read_total",
              "Records of each step's different experts, summed.", {},
              static_cast<double>(totals.bytes_read));
    }
    AddRatios("peerage_router_topk_mass_ratio",
              "What softmax over all experts gives to those picked, of 1 token in 16.",
              totals.kept_mass);
    AddRatios("peerage_router_entropy_ratio",
              "Entropy of softmax over all experts / ln N, of 1 token in 16.",
              totals.router_entropy);
  }
  void AddRatios(const char* name, const char* help, const RatioCounts& ratios) {
    Histogram(name, help, {}, RatioCounts::kBounds, ratios.counts,
              static_cast<double>(ratios.sum) * ExpertCount::kUnit);
  }

  void AddSubKeys(const LayerWindows& windows) {
    const uint32_t n = layer_.num_sub_keys;
    if (n == 0) return;
    const absl::Span<const uint64_t> picks = windows.total.sub_keys;
    for (size_t half = 0; half < size_t{2} * layer_.heads; ++half) {
      const SubKeyFigures figures = ComputeSubKeyFigures(picks.subspan(half * n, n));
      const Labels labels = {{"head", absl::StrCat(half / 2)},
                             {"axis", half % 2 == 0 ? "row" : "column"}};
      Gauge("peerage_subkey_used_ratio",
            "Share of a head's sub-keys that led to a pick, of 1 token in 16.", labels,
            figures.used_ratio);
      Gauge("peerage_subkey_entropy_ratio", "Entropy of their shares / ln n.", labels,
            figures.entropy_ratio);
    }
    SubKeyBlocks blocks = SubKeyBlocks::Of(layer_, windows.total.selections);
    blocks += windows.since_start.before_reset;
    AddBlocks("peerage_expert_row_selections", "Selections by the first sub-key.", blocks.rows);
    AddBlocks("peerage_expert_column_selections", "Selections by the second sub-key.",
              blocks.columns);
  }
  // The sum is that of the blocks' last sub-keys, which is of no use.
  void AddBlocks(const char* name, const char* help, absl::Span<const uint64_t> counts) {
    const std::vector<uint32_t> last = SubKeyBlocks::Bounds(layer_);
    const std::vector<double> bounds(last.begin(), last.end());
    Histogram(name, help, {}, bounds, counts,
              std::inner_product(bounds.begin(), bounds.end(), counts.begin(), 0.0));
  }

  ExpertFigures AddWindow(const std::string& window, const ExpertUsage& usage) {
    const ExpertFigures figures = FiguresOf(layer_, usage);
    const Labels of_window = {{"window", window}};
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
  absl::Span<const uint64_t> baseline_;  // empty: none
};

ExpertMetrics::ExpertMetrics(Options options)
    : options_([&options] {
        if (options.level == kOff || options.mode == ExpertUsageMode::kOff) options.layers.clear();
        return std::move(options);
      }()),
      sum_seconds_(AddStage("sum", options_.model_name, costs_)),
      figure_seconds_(AddStage("figures", options_.model_name, costs_)) {
  if (layers().empty()) return;
  for (const ExpertLayer& layer : layers()) {
    ExpertUsage unused;
    unused.selections.resize(layer.num_experts);
    unused.score_sums.resize(layer.num_experts);
    unused.sub_keys.resize(layer.sub_keys_of_heads());
    const bool recent = IsKept(UsageWindow::kRecent, options_.mode);
    Add({.recent = recent ? std::optional(unused) : std::nullopt,
         .total = unused,
         .since_start = {.selections = unused.selections, .score_sums = unused.score_sums}});
  }
  EndRound(absl::UnixEpoch());
}

void ExpertMetrics::Add(const LayerWindows& windows) {
  if (next_ == nullptr) next_ = std::make_shared<Families>();
  const size_t index = num_updated_++;
  LayerSeries(options_, index, *next_).Add(windows);
  const auto add_window = [&](const char* window, const ExpertUsage& usage) {
    WindowTotals& totals = window_totals_[window];
    totals.length = usage.end - usage.start;
    totals.selections += usage.tokens * layers()[index].picks_per_token();
  };
  if (windows.recent.has_value()) add_window("recent", *windows.recent);
  add_window("total", windows.total);
}

void ExpertMetrics::AddWindowTotals() {
  for (const auto& [window, totals] : window_totals_) {
    const Labels labels = {{"model_name", options_.model_name}, {"window", window}};
    next_
        ->Add(MetricType::Gauge, "peerage_expert_window_seconds",
              "Length of a window of expert usage.", labels)
        .gauge.value = absl::ToDoubleSeconds(totals.length);
    next_
        ->Add(MetricType::Gauge, "peerage_expert_window_selections",
              "Selections in a window, of all layers.", labels)
        .gauge.value = static_cast<double>(totals.selections);
  }
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
  window_totals_.clear();
}

void ExpertMetrics::EndRound(absl::Time now) {
  AddWindowTotals();
  next_
      ->Add(MetricType::Gauge, "peerage_expert_stats_timestamp_seconds",
            "When the figures of experts were computed, in seconds since 1970.",
            {{"model_name", options_.model_name}})
      .gauge.value = absl::ToDoubleSeconds(now - absl::UnixEpoch());
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
  if (expert_layer == 0) begin_ = ThreadTime();
  if (expert_layer == metrics_.layers().size()) {
    metrics_.EndRound(clock_.Now());
    lane_.RunAt(clock_.Now() + PauseAfter(ThreadTime() - begin_), [this] { UpdateFrom(0); });
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
