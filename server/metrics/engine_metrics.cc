#include "server/metrics/engine_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace peerage {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

const Buckets kFirstTokenSeconds = {.001, .0025, .005, .01, .02, .04, .06, .08, .1,
                                    .25,  .5,    1,    2.5, 5,   10,  20,  40,  80};
const Buckets kQueueSeconds = {.0005, .001, .0025, .005, .01, .025, .05, .1,
                               .25,   .5,   1,     2.5,  5,   10,   30,  60};
const Buckets kTotalSeconds = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300};
const Buckets kStepSeconds = {.0001, .0002, .0005, .001, .002, .005, .01, .02,
                              .05,   .1,    .2,    .5,   1,    2,    5,   10};
const Buckets kStepTokens = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

constexpr const char* kMethods[] = {"generate", "score"};

prometheus::Counter& AddCounter(prometheus::Registry& registry, const char* name,
                                const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Gauge& AddGauge(prometheus::Registry& registry, const char* name, const char* help,
                            const prometheus::Labels& labels = {}) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
}

prometheus::Histogram& AddHistogram(prometheus::Registry& registry, const char* name,
                                    const char* help, const Buckets& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

prometheus::Gauge& AddBlocks(prometheus::Registry& registry, const char* state) {
  return AddGauge(registry, "peerage_kv_cache_blocks", "KV-cache blocks by state.",
                  {{"state", state}});
}

}  // namespace

EngineMetrics::EngineMetrics()
    : registry_(std::make_unique<prometheus::Registry>()),
      prompt_tokens_(AddCounter(*registry_, "peerage_prompt_tokens_total",
                                "Tokens of prompts and contexts of finished requests.")),
      generation_tokens_(AddCounter(*registry_, "peerage_generation_tokens_total",
                                    "Tokens generated for finished requests.")),
      requests_running_(AddGauge(*registry_, "peerage_requests_running",
                                 "Requests that have started and not ended.")),
      requests_waiting_(
          AddGauge(*registry_, "peerage_requests_waiting", "Requests admitted but not started.")),
      kv_cache_usage_(AddGauge(*registry_, "peerage_kv_cache_usage_ratio",
                               "Share of the KV-cache blocks in use, 0 to 1.")),
      kv_blocks_free_(AddBlocks(*registry_, "free")),
      kv_blocks_used_(AddBlocks(*registry_, "used")),
      time_to_first_token_(AddHistogram(*registry_, "peerage_time_to_first_token_seconds",
                                        "From a request's arrival to its first token.",
                                        kFirstTokenSeconds)),
      request_queue_(AddHistogram(*registry_, "peerage_request_queue_seconds",
                                  "From a request's arrival to its first step.", kQueueSeconds)),
      request_total_(AddHistogram(*registry_, "peerage_request_e2e_seconds",
                                  "From a request's arrival to its end.", kTotalSeconds)),
      step_duration_(AddHistogram(*registry_, "peerage_step_seconds",
                                  "Duration of one step of the model.", kStepSeconds)),
      step_tokens_(AddHistogram(*registry_, "peerage_step_tokens",
                                "Tokens computed in one step, prefill and decode.", kStepTokens)) {
  auto& requests = prometheus::BuildCounter()
                       .Name("peerage_requests_total")
                       .Help("Requests by method and final gRPC code.")
                       .Register(*registry_);
  for (int method = 0; method < kNumMethods; ++method) {
    for (int code = 0; code < kNumCodes; ++code) {
      const std::string name = absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
      requests_[method][code] = &requests.Add({{"method", kMethods[method]}, {"code", name}});
    }
  }
}

EngineMetrics::~EngineMetrics() = default;

void EngineMetrics::SetInfo(const MetricsInfo& info) {
  AddGauge(*registry_, "peerage_build_info", "Always 1; the server's version.",
           {{"version", info.version}})
      .Set(1);
  AddGauge(*registry_, "peerage_model_info", "Always 1; what the model is.",
           {{"model_name", info.model_name},
            {"architecture", info.architecture},
            {"fingerprint", info.fingerprint},
            {"weights_dtype", info.weights_dtype},
            {"device", info.device}})
      .Set(1);
}

void EngineMetrics::OnStep(const StepEvent& event) {
  step_duration_.Observe(absl::ToDoubleSeconds(event.duration));
  step_tokens_.Observe(event.prefill_tokens + event.decode_tokens);
  OnQueueChanged(event.requests_running, event.requests_waiting);
  const int32_t used = event.kv_blocks_total - event.kv_blocks_free;
  kv_blocks_free_.Set(event.kv_blocks_free);
  kv_blocks_used_.Set(used);
  kv_cache_usage_.Set(
      event.kv_blocks_total == 0 ? 0.0 : static_cast<double>(used) / event.kv_blocks_total);
}

void EngineMetrics::OnRequestDone(const RequestEvent& event) {
  const int code = static_cast<int>(event.code);
  const int known =
      code >= 0 && code < kNumCodes ? code : static_cast<int>(absl::StatusCode::kUnknown);
  requests_[static_cast<int>(event.kind)][known]->Increment();
  prompt_tokens_.Increment(event.prompt_tokens);
  // A score's continuations are read, not generated.
  if (event.kind == RequestKind::kGenerate) generation_tokens_.Increment(event.completion_tokens);
  request_total_.Observe(absl::ToDoubleSeconds(event.total));
  request_queue_.Observe(absl::ToDoubleSeconds(event.queue));
  if (event.time_to_first_token > absl::ZeroDuration()) {
    time_to_first_token_.Observe(absl::ToDoubleSeconds(event.time_to_first_token));
  }
}

void EngineMetrics::OnQueueChanged(int32_t requests_running, int32_t requests_waiting) {
  requests_running_.Set(requests_running);
  requests_waiting_.Set(requests_waiting);
}

std::string EngineMetrics::TextExposition() const {
  return prometheus::TextSerializer().Serialize(registry_->Collect());
}

}  // namespace peerage
