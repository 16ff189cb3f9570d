#include "server/metrics/engine_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/metrics/code_label.h"
#include "server/metrics/metric_table.h"

namespace peerage {

namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using enum MetricKind;

const Buckets kFirstTokenSeconds = {.001, .0025, .005, .01, .02, .04, .06, .08, .1,
                                    .25,  .5,    1,    2.5, 5,   10,  20,  40,  80};
const Buckets kTokenSeconds = {.0005, .001, .002, .003, .004, .006, .008, .01, .015, .02,
                               .03,   .05,  .075, .1,   .15,  .25,  .5,   1,   2.5};
const Buckets kQueueSeconds = {.0005, .001, .0025, .005, .01, .025, .05, .1,
                               .25,   .5,   1,     2.5,  5,   10,   30,  60};
const Buckets kTotalSeconds = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300};
const Buckets kStepSeconds = {.0001, .0002, .0005, .001, .002, .005, .01, .02,
                              .05,   .1,    .2,    .5,   1,    2,    5,   10};
const Buckets kDistinctExperts = {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576};
const Buckets kStepTokens = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const Buckets kStepSequences = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
const Buckets kRequestTokens = {1,   2,    5,    10,   20,    50,    100,   200,
                                500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

using Value = std::optional<double>;
using Labels = prometheus::Labels;

Value If(bool condition, double value) { return condition ? Value(value) : std::nullopt; }
double Seconds(absl::Duration duration) { return absl::ToDoubleSeconds(duration); }

struct Method {
  RequestKind kind;
  const char* name;
};
constexpr Method kMethods[] = {{RequestKind::kGenerate, "generate"},
                               {RequestKind::kScore, "score"}};

// Series of each method and code, and of each method.
void AddRequestsByMethod(std::vector<MetricRow<RequestEvent>>& rows) {
  for (const Method& method : kMethods) {
    for (int code = 0; code < kNumCodes; ++code) {
      rows.push_back({kCounter,
                      "peerage_requests_total",
                      "Requests that ended or were refused, by method and final gRPC code.",
                      [kind = method.kind, code](const RequestEvent& event) {
                        return If(event.kind == kind && KnownCode(event.code) == code, 1);
                      },
                      {{"method", method.name}, {"code", CodeLabel(code)}}});
    }
    rows.push_back({kHistogram,
                    "peerage_request_e2e_seconds",
                    "From an admitted request's arrival to its end.",
                    [kind = method.kind](const RequestEvent& event) {
                      return If(event.admitted && event.kind == kind, Seconds(event.total));
                    },
                    {{"method", method.name}},
                    kTotalSeconds});
  }
}

// Series of requests that ended with one of these codes before their first step.
void AddRefusals(std::vector<MetricRow<RequestEvent>>& rows) {
  constexpr std::pair<const char*, absl::StatusCode> kReasons[] = {
      {"queue_full", absl::StatusCode::kResourceExhausted},
      {"deadline", absl::StatusCode::kDeadlineExceeded},
      {"draining", absl::StatusCode::kUnavailable},
      {"too_large", absl::StatusCode::kOutOfRange}};
  for (const auto& [reason, code] : kReasons) {
    rows.push_back({kCounter,
                    "peerage_requests_refused_total",
                    "Requests refused before any step, by reason.",
                    [code = code](const RequestEvent& event) {
                      return If(!event.scheduled && event.code == code, 1);
                    },
                    {{"reason", reason}}});
  }
}

bool HasFirstToken(const RequestEvent& event) {
  return event.timings.time_to_first_token > absl::ZeroDuration();
}

// How far a request came.
const char* StageOf(const RequestEvent& event) {
  if (!event.scheduled) return "queue";
  return HasFirstToken(event) ? "decode" : "prefill";
}

void AddCancellations(std::vector<MetricRow<RequestEvent>>& rows) {
  for (const std::string stage : {"queue", "prefill", "decode"}) {
    rows.push_back({kCounter,
                    "peerage_requests_cancelled_total",
                    "Cancelled requests by the stage that they had reached.",
                    [stage](const RequestEvent& event) {
                      return If(
                          event.code == absl::StatusCode::kCancelled && StageOf(event) == stage, 1);
                    },
                    {{"stage", stage}}});
  }
}

// Why the candidates ended that a request's end cut short.
const char* CutShortBy(const RequestEvent& event) {
  if (event.code == absl::StatusCode::kCancelled) return "cancelled";
  return event.code == absl::StatusCode::kDeadlineExceeded ? "deadline" : "error";
}

void AddCandidates(std::vector<MetricRow<RequestEvent>>& rows) {
  const char* const name = "peerage_candidates_finished_total";
  const char* const help = "Candidates of admitted requests by what ended them.";
  for (const auto& [reason, finish] : kFinishReasons) {
    const auto i = static_cast<size_t>(finish);
    rows.push_back({kCounter,
                    name,
                    help,
                    [i](const RequestEvent& event) { return Value(event.finished_candidates[i]); },
                    {{"reason", std::string(reason)}}});
  }
  for (const std::string reason : {"cancelled", "deadline", "error"}) {
    rows.push_back({kCounter,
                    name,
                    help,
                    [reason](const RequestEvent& event) {
                      return If(CutShortBy(event) == reason, event.unfinished_candidates);
                    },
                    {{"reason", reason}}});
  }
}

std::vector<MetricRow<RequestEvent>> DistinctExpertsRows() {
  return {{kHistogram,
           "peerage_request_distinct_experts",
           "Different experts that a request used, over all layers.",
           [](const RequestEvent& event) -> std::optional<double> {
             if (!event.distinct_experts.has_value()) return std::nullopt;
             return static_cast<double>(*event.distinct_experts);
           },
           {},
           kDistinctExperts}};
}

std::vector<MetricRow<RequestEvent>> RequestRows() {
  std::vector<MetricRow<RequestEvent>> rows = {
      {kHistogram,
       "peerage_request_prompt_tokens",
       "Tokens of a started request's prompt or context.",
       [](const RequestEvent& event) { return If(event.scheduled, event.prompt_tokens); },
       {},
       kRequestTokens},
      {kHistogram,
       "peerage_request_generation_tokens",
       "Tokens generated for a started request, over all candidates.",
       [](const RequestEvent& event) {
         return If(event.scheduled && event.kind == RequestKind::kGenerate,
                   event.completion_tokens);
       },
       {},
       kRequestTokens},
      {kHistogram,
       "peerage_request_queue_seconds",
       "From an admitted request's arrival to its first step, or to its end without one.",
       [](const RequestEvent& event) { return If(event.admitted, Seconds(event.timings.queue)); },
       {},
       kQueueSeconds},
      {kHistogram,
       "peerage_request_prefill_seconds",
       "From a request's first step to its first token.",
       [](const RequestEvent& event) {
         return If(HasFirstToken(event), Seconds(event.timings.prefill));
       },
       {},
       kTotalSeconds},
      {kHistogram,
       "peerage_request_decode_seconds",
       "From a request's first token to its last.",
       [](const RequestEvent& event) {
         return If(HasFirstToken(event), Seconds(event.timings.decode));
       },
       {},
       kTotalSeconds},
      {kHistogram,
       "peerage_request_time_per_output_token_seconds",
       "From first to last token, divided by the longest candidate's tokens after the first.",
       [](const RequestEvent& event) {
         return If(event.longest_candidate > 1,
                   Seconds(event.timings.decode) / (event.longest_candidate - 1.0));
       },
       {},
       kTokenSeconds},
  };
  AddRequestsByMethod(rows);
  AddRefusals(rows);
  AddCancellations(rows);
  AddCandidates(rows);
  return rows;
}

std::vector<MetricRow<TokensEvent>> TokensRows() {
  return {
      {kCounter, "peerage_prompt_tokens_total",
       "Tokens of prompts and contexts that were computed, each once.",
       [](const TokensEvent& event) { return Value(event.prompt); }},
      {kCounter, "peerage_generation_tokens_total", "Tokens generated and delivered.",
       [](const TokensEvent& event) { return Value(event.generated); }},
      {kCounter, "peerage_scored_tokens_total", "Tokens of continuations scored and delivered.",
       [](const TokensEvent& event) { return Value(event.scored); }},
      {kCounter, "peerage_prefix_cache_query_tokens_total",
       "Tokens of started requests' prompts and contexts, looked for in the prefix cache.",
       [](const TokensEvent& event) { return Value(event.prefix_queried); }},
      {kCounter, "peerage_prefix_cache_hit_tokens_total", "Tokens found in the prefix cache.",
       [](const TokensEvent& event) { return Value(event.prefix_hit); }},
      {kCounter, "peerage_preemptions_total",
       "How often a running request was put back to make room for others.",
       [](const TokensEvent& event) { return Value(event.preemptions); }},
      {kCounter, "peerage_recomputed_tokens_total",
       "Tokens computed once more after their request was put back.",
       [](const TokensEvent& event) { return Value(event.recomputed); }},
      {.kind = kHistogram,
       .name = "peerage_time_to_first_token_seconds",
       .help = "From a request's arrival to its first token.",
       .buckets = kFirstTokenSeconds,
       .values = &TokensEvent::first_token_seconds},
      {.kind = kHistogram,
       .name = "peerage_inter_token_latency_seconds",
       .help = "Between a candidate's tokens, one after the other.",
       .buckets = kTokenSeconds,
       .values = &TokensEvent::inter_token_seconds},
  };
}

std::vector<MetricRow<TurnEvent>> TurnRows() {
  return {
      {kCounter, "peerage_engine_overhead_seconds_total",
       "Time of the worker's loop without the model: scheduling and delivery.",
       [](const TurnEvent& event) { return Value(Seconds(event.overhead)); }},
  };
}

int32_t UsedBlocks(const EngineStatus& now) { return now.kv_blocks_total - now.kv_blocks_free; }

// Gauges. They are read when they are asked for, so that none of them can be left behind by a
// change that no event tells of.
std::vector<MetricRow<EngineStatus>> StatusRows() {
  const char* const blocks = "peerage_kv_cache_blocks";
  const char* const blocks_help = "KV-cache blocks by state.";
  const char* const waiting = "peerage_requests_waiting_by_reason";
  const char* const waiting_help = "Requests that wait, by what the first of them waits for.";
  return {
      {kGauge, "peerage_requests_running", "Requests that have started and not ended.",
       [](const EngineStatus& now) { return Value(now.requests_running); }},
      {kGauge, "peerage_requests_waiting", "Requests admitted but not started.",
       [](const EngineStatus& now) { return Value(now.requests_waiting); }},
      {kGauge, "peerage_queued_prompt_tokens",
       "Tokens of prompts, contexts and continuations that wait.",
       [](const EngineStatus& now) { return Value(now.waiting_prompt_tokens); }},
      {kGauge,
       waiting,
       waiting_help,
       [](const EngineStatus& now) { return Value(now.waiting_for_slots); },
       {{"reason", "slots"}}},
      {kGauge,
       waiting,
       waiting_help,
       [](const EngineStatus& now) { return Value(now.waiting_for_blocks); },
       {{"reason", "kv_blocks"}}},
      {kGauge,
       waiting,
       waiting_help,
       [](const EngineStatus& now) { return Value(now.waiting_for_fairness); },
       {{"reason", "fairness"}}},
      {kGauge, "peerage_fair_share_gap_tokens",
       "Largest difference of tokens served between tenants whose requests wait.",
       [](const EngineStatus& now) { return Value(now.share_gap); }},
      {kGauge, "peerage_streams_parked", "Running requests whose readers are behind.",
       [](const EngineStatus& now) { return Value(now.requests_parked); }},
      {kGauge, "peerage_engine_heartbeat_timestamp_seconds",
       "End of the worker loop's last turn, in seconds since 1970; an idle loop turns once a "
       "second.",
       [](const EngineStatus& now) { return Value(Seconds(now.last_turn - absl::UnixEpoch())); }},
      {kGauge, "peerage_kv_cache_usage_ratio", "Share of the KV-cache blocks in use, 0 to 1.",
       [](const EngineStatus& now) {
         return Value(now.kv_blocks_total == 0
                          ? 0.0
                          : static_cast<double>(UsedBlocks(now)) / now.kv_blocks_total);
       }},
      {kGauge,
       blocks,
       blocks_help,
       [](const EngineStatus& now) { return Value(now.kv_blocks_free - now.kv_blocks_cached); },
       {{"state", "free"}}},
      {kGauge,
       blocks,
       blocks_help,
       [](const EngineStatus& now) { return Value(now.kv_blocks_cached); },
       {{"state", "cached"}}},
      {kGauge,
       blocks,
       blocks_help,
       [](const EngineStatus& now) { return Value(UsedBlocks(now)); },
       {{"state", "used"}}},
  };
}

const char* PhaseOf(const StepEvent& event) {
  if (event.decode_tokens == 0) return "prefill";
  return event.prefill_tokens == 0 ? "decode" : "mixed";
}

std::vector<MetricRow<StepEvent>> StepRows() {
  std::vector<MetricRow<StepEvent>> rows = {
      {kHistogram,
       "peerage_step_tokens",
       "Tokens computed in one step, prefill and decode.",
       [](const StepEvent& event) { return Value(event.prefill_tokens + event.decode_tokens); },
       {},
       kStepTokens},
      {kHistogram,
       "peerage_step_sequences",
       "Sequences computed in one step.",
       [](const StepEvent& event) { return Value(event.sequences); },
       {},
       kStepSequences},
  };
  for (const std::string phase : {"prefill", "decode", "mixed"}) {
    rows.push_back({kHistogram,
                    "peerage_step_seconds",
                    "Duration of one step of the model, by what it computed.",
                    [phase](const StepEvent& event) {
                      return If(PhaseOf(event) == phase, Seconds(event.duration));
                    },
                    {{"phase", phase}},
                    kStepSeconds});
  }
  return rows;
}

// What it says is in its labels, and its value 1.
MetricRow<MetricsInfo> InfoRow(const char* name, const char* help, Labels labels) {
  return {kGauge, name, help, [](const MetricsInfo&) { return Value(1); }, std::move(labels)};
}

std::vector<MetricRow<MetricsInfo>> InfoRows(const MetricsInfo& info) {
  const ExpertLayer layer = info.expert_layers.empty() ? ExpertLayer() : info.expert_layers[0];
  std::vector<MetricRow<MetricsInfo>> rows = {
      InfoRow("peerage_build_info", "Always 1; the server's version.", {{"version", info.version}}),
      InfoRow("peerage_model_info",
              "Always 1; what the model is. Experts are those of its first expert layer.",
              {{"architecture", info.architecture},
               {"fingerprint", info.fingerprint},
               {"weights_dtype", info.weights_dtype},
               {"device", info.device},
               {"experts", absl::StrCat(layer.num_experts)},
               {"heads", absl::StrCat(layer.heads)},
               {"top_k", absl::StrCat(layer.top_k)}}),
      InfoRow("peerage_cache_config_info", "Always 1; how the KV cache is cut.",
              {{"block_size", absl::StrCat(info.kv_block_tokens)},
               {"num_blocks", absl::StrCat(info.kv_blocks)}}),
  };
  for (const auto& [part, bytes] : info.planned_bytes) {
    rows.push_back({kGauge,
                    "peerage_memory_planned_bytes",
                    "Memory as planned at the start, by what it is for.",
                    [bytes = bytes](const MetricsInfo&) { return Value(bytes); },
                    {{"part", part}}});
  }
  return rows;
}

}  // namespace

struct EngineMetrics::Tables final : prometheus::Collectable {
  explicit Tables(const std::string& model_name) : labels{{"model_name", model_name}} {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    std::function<EngineStatus()> read;
    {
      absl::MutexLock lock(&mu);
      read = status;
    }
    if (read) gauges.Record(read());
    return registry.Collect();
  }

  const Labels labels;  // of every series
  prometheus::Registry registry;
  MetricTable<RequestEvent> requests{registry, labels, RequestRows()};
  std::optional<MetricTable<RequestEvent>> distinct_experts;
  MetricTable<TokensEvent> tokens{registry, labels, TokensRows()};
  MetricTable<TurnEvent> turns{registry, labels, TurnRows()};
  MetricTable<StepEvent> steps{registry, labels, StepRows()};
  MetricTable<EngineStatus> gauges{registry, labels, StatusRows()};

  mutable absl::Mutex mu;
  std::function<EngineStatus()> status ABSL_GUARDED_BY(mu);
};

EngineMetrics::EngineMetrics(const std::string& model_name)
    : tables_(std::make_unique<Tables>(model_name)) {}

EngineMetrics::~EngineMetrics() = default;

void EngineMetrics::SetInfo(const MetricsInfo& info) {
  MetricTable<MetricsInfo>(tables_->registry, tables_->labels, InfoRows(info)).Record(info);
  if (info.distinct_experts) {
    tables_->distinct_experts.emplace(tables_->registry, tables_->labels, DistinctExpertsRows());
  }
}

void EngineMetrics::Watch(std::function<EngineStatus()> status) {
  absl::MutexLock lock(&tables_->mu);
  tables_->status = std::move(status);
}

void EngineMetrics::OnStep(const StepEvent& event) { tables_->steps.Record(event); }

void EngineMetrics::OnTokens(const TokensEvent& event) { tables_->tokens.Record(event); }

void EngineMetrics::OnTurn(const TurnEvent& event) { tables_->turns.Record(event); }

void EngineMetrics::OnRequestDone(const RequestEvent& event) {
  tables_->requests.Record(event);
  if (tables_->distinct_experts.has_value()) tables_->distinct_experts->Record(event);
}

const prometheus::Collectable& EngineMetrics::collectable() const { return *tables_; }

}  // namespace peerage
