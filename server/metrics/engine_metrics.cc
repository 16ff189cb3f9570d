#include "server/metrics/engine_metrics.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <optional>
#include <utility>
#include <vector>

#include "server/metrics/metric_table.h"

namespace peerage {

// How many requests run and wait, whatever event told it.
struct QueueEvent {
  int32_t running = 0;
  int32_t waiting = 0;
};

namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using enum MetricKind;

const Buckets kFirstTokenSeconds = {.001, .0025, .005, .01, .02, .04, .06, .08, .1,
                                    .25,  .5,    1,    2.5, 5,   10,  20,  40,  80};
const Buckets kQueueSeconds = {.0005, .001, .0025, .005, .01, .025, .05, .1,
                               .25,   .5,   1,     2.5,  5,   10,   30,  60};
const Buckets kTotalSeconds = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300};
const Buckets kStepSeconds = {.0001, .0002, .0005, .001, .002, .005, .01, .02,
                              .05,   .1,    .2,    .5,   1,    2,    5,   10};
const Buckets kStepTokens = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

using Value = std::optional<double>;

constexpr int kNumCodes = 17;  // OK to UNAUTHENTICATED

// The event's code, or UNKNOWN for one from outside the set.
int KnownCode(const RequestEvent& event) {
  const int code = static_cast<int>(event.code);
  return code >= 0 && code < kNumCodes ? code : static_cast<int>(absl::StatusCode::kUnknown);
}

// One series for each method and code.
void AddRequestCounts(std::vector<MetricRow<RequestEvent>>& rows) {
  for (const auto& [kind, method] :
       {std::pair(RequestKind::kGenerate, "generate"), std::pair(RequestKind::kScore, "score")}) {
    for (int code = 0; code < kNumCodes; ++code) {
      rows.push_back(
          {.kind = kCounter,
           .name = "peerage_requests_total",
           .help = "Requests by method and final gRPC code.",
           .value =
               [kind = kind, code](const RequestEvent& event) {
                 return event.kind == kind && KnownCode(event) == code ? Value(1) : std::nullopt;
               },
           .labels = {{"method", method},
                      {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(code))}}});
    }
  }
}

std::vector<MetricRow<RequestEvent>> RequestRows() {
  std::vector<MetricRow<RequestEvent>> rows = {
      {kCounter, "peerage_prompt_tokens_total",
       "Tokens of prompts and contexts of finished requests.",
       [](const RequestEvent& event) { return Value(event.prompt_tokens); }},
      // A score's continuations are read, not generated.
      {kCounter, "peerage_generation_tokens_total", "Tokens generated for finished requests.",
       [](const RequestEvent& event) {
         return event.kind == RequestKind::kGenerate ? Value(event.completion_tokens)
                                                     : std::nullopt;
       }},
      {kHistogram,
       "peerage_time_to_first_token_seconds",
       "From a request's arrival to its first token.",
       [](const RequestEvent& event) {
         return event.time_to_first_token > absl::ZeroDuration()
                    ? Value(absl::ToDoubleSeconds(event.time_to_first_token))
                    : std::nullopt;
       },
       {},
       kFirstTokenSeconds},
      {kHistogram,
       "peerage_request_queue_seconds",
       "From a request's arrival to its first step.",
       [](const RequestEvent& event) { return Value(absl::ToDoubleSeconds(event.queue)); },
       {},
       kQueueSeconds},
      {kHistogram,
       "peerage_request_e2e_seconds",
       "From a request's arrival to its end.",
       [](const RequestEvent& event) { return Value(absl::ToDoubleSeconds(event.total)); },
       {},
       kTotalSeconds},
  };
  AddRequestCounts(rows);
  return rows;
}

std::vector<MetricRow<QueueEvent>> QueueRows() {
  return {
      {kGauge, "peerage_requests_running", "Requests that have started and not ended.",
       [](const QueueEvent& event) { return Value(event.running); }},
      {kGauge, "peerage_requests_waiting", "Requests admitted but not started.",
       [](const QueueEvent& event) { return Value(event.waiting); }},
  };
}

int32_t UsedBlocks(const StepEvent& event) { return event.kv_blocks_total - event.kv_blocks_free; }

std::vector<MetricRow<StepEvent>> StepRows() {
  const char* const blocks = "peerage_kv_cache_blocks";
  const char* const blocks_help = "KV-cache blocks by state.";
  return {
      {kGauge, "peerage_kv_cache_usage_ratio", "Share of the KV-cache blocks in use, 0 to 1.",
       [](const StepEvent& event) {
         return Value(event.kv_blocks_total == 0
                          ? 0.0
                          : static_cast<double>(UsedBlocks(event)) / event.kv_blocks_total);
       }},
      {kGauge,
       blocks,
       blocks_help,
       [](const StepEvent& event) { return Value(event.kv_blocks_free); },
       {{"state", "free"}}},
      {kGauge,
       blocks,
       blocks_help,
       [](const StepEvent& event) { return Value(UsedBlocks(event)); },
       {{"state", "used"}}},
      {kHistogram,
       "peerage_step_seconds",
       "Duration of one step of the model.",
       [](const StepEvent& event) { return Value(absl::ToDoubleSeconds(event.duration)); },
       {},
       kStepSeconds},
      {kHistogram,
       "peerage_step_tokens",
       "Tokens computed in one step, prefill and decode.",
       [](const StepEvent& event) { return Value(event.prefill_tokens + event.decode_tokens); },
       {},
       kStepTokens},
  };
}

// Always 1; what it says is in its labels.
MetricRow<MetricsInfo> InfoRow(const char* name, const char* help, prometheus::Labels labels) {
  return {kGauge, name, help, [](const MetricsInfo&) { return Value(1); }, std::move(labels)};
}

std::vector<MetricRow<MetricsInfo>> InfoRows(const MetricsInfo& info) {
  return {
      InfoRow("peerage_build_info", "Always 1; the server's version.", {{"version", info.version}}),
      InfoRow("peerage_model_info", "Always 1; what the model is.",
              {{"model_name", info.model_name},
               {"architecture", info.architecture},
               {"fingerprint", info.fingerprint},
               {"weights_dtype", info.weights_dtype},
               {"device", info.device}}),
  };
}

}  // namespace

struct EngineMetrics::Tables {
  prometheus::Registry registry;
  MetricTable<RequestEvent> requests{registry, RequestRows()};
  MetricTable<QueueEvent> queue{registry, QueueRows()};
  MetricTable<StepEvent> steps{registry, StepRows()};
};

EngineMetrics::EngineMetrics() : tables_(std::make_unique<Tables>()) {}

EngineMetrics::~EngineMetrics() = default;

void EngineMetrics::SetInfo(const MetricsInfo& info) {
  MetricTable<MetricsInfo>(tables_->registry, InfoRows(info)).Record(info);
}

void EngineMetrics::OnStep(const StepEvent& event) {
  tables_->steps.Record(event);
  OnQueueChanged(event.requests_running, event.requests_waiting);
}

void EngineMetrics::OnRequestDone(const RequestEvent& event) { tables_->requests.Record(event); }

void EngineMetrics::OnQueueChanged(int32_t requests_running, int32_t requests_waiting) {
  tables_->queue.Record({requests_running, requests_waiting});
}

std::string EngineMetrics::TextExposition() const {
  return prometheus::TextSerializer().Serialize(tables_->registry.Collect());
}

}  // namespace peerage
