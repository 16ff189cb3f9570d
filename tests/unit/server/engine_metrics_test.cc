#include "server/metrics/engine_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/metric_family.h>
#include <sys/resource.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "server/metrics/call_metrics.h"
#include "server/metrics/door_metrics.h"
#include "server/metrics/expert_metrics.h"
#include "server/metrics/identity_metrics.h"
#include "server/metrics/process_metrics.h"
#include "server/metrics/reload_metrics.h"
#include "server/metrics/text_exposition.h"
#include "server/metrics/tls_metrics.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << path;
  return text.str();
}

std::set<std::string> MatchesOf(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::set<std::string> matches;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    matches.insert((*it)[1]);
  }
  return matches;
}

std::string TextOf(const EngineMetrics& metrics) {
  return TextExposition({&metrics.collectable()});
}

// Expects series in an exposition, of the model "m".
struct SeriesOf {
  void operator()(const std::string& name, const std::string& labels, const char* value) const {
    EXPECT_THAT(text, HasSubstr(name + "{model_name=\"m\"" + labels + "} " + value + "\n"));
  }
  const std::string& text;
};

// What a test model has.
MetricsInfo Info() {
  MetricsInfo info;
  info.version = "1.2";
  info.architecture = "a\"b";
  info.expert_layers = {{.num_experts = 49, .heads = 3, .top_k = 5}};
  info.kv_block_tokens = 16;
  info.distinct_experts = true;
  info.kv_blocks = 77;
  info.planned_bytes = {{"weights", 1'000'000}, {"kv_cache", 5}};
  return info;
}

TEST(EngineMetricsTest, ExposesExactlyTheSeriesThatTheDocumentationLists) {
  EngineMetrics metrics("m");
  metrics.SetInfo(Info());
  const ProcessMetrics process("m");
  const ExpertMetrics experts(
      {.model_name = "m",
       .layers = {{.num_experts = 4, .heads = 1, .top_k = 1, .num_sub_keys = 2},
                  {.kind = ExpertLayerKind::kMixtureFfn,
                   .num_experts = 2,
                   .heads = 1,
                   .top_k = 1,
                   .expert_names = {"a", "b"}}},
       .level = ExpertMetricsLevel::kFull});
  const CallMetrics calls("m", {});
  const DoorMetrics door("m");
  const CurrentTls no_tls;
  const TlsMetrics tls("m", &no_tls);
  ReloadMetrics reloads("m");
  reloads.Add("tokens");
  const Authorizer authorizer("m", {});
  const IdentityMetrics identity("m", &authorizer);
  const std::string documentation = ReadFile("docs/metrics.md");

  // Rows of its tables: | `name` | type | labels | meaning |
  EXPECT_THAT(MatchesOf(documentation, R"(\| `([a-z0-9_]+)` \| [a-z]+ \|)"),
              ::testing::ContainerEq(MatchesOf(
                  TextExposition({&metrics.collectable(), &calls.collectable(), &process, &experts,
                                  &door.collectable(), &tls, &reloads, &identity}),
                  R"(# TYPE (\S+) )")));
}

TEST(EngineMetricsTest, HasEverySeriesBeforeTheFirstRequestWithTheModelsName) {
  const EngineMetrics metrics("m");
  const std::string text = TextOf(metrics);
  EXPECT_THAT(text, HasSubstr("peerage_requests_total{model_name=\"m\",code=\"OK\","
                              "method=\"generate\"} 0"));
  EXPECT_THAT(text, HasSubstr("code=\"UNAUTHENTICATED\",method=\"score\"} 0"));
  EXPECT_THAT(text, HasSubstr("peerage_kv_cache_usage_ratio{model_name=\"m\"} 0"));
  EXPECT_THAT(text, HasSubstr("peerage_inter_token_latency_seconds_count{model_name=\"m\"} 0"));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line[0] == '#') continue;
    EXPECT_THAT(line, HasSubstr("model_name=\"m\""));
  }
}

TEST(EngineMetricsTest, CountsRequestsByMethodAndCode) {
  EngineMetrics metrics("m");
  RequestEvent generated{.admitted = true,
                         .scheduled = true,
                         .prompt_tokens = 7,
                         .completion_tokens = 3,
                         .longest_candidate = 3,
                         .finished_candidates = {0, 1, 2},
                         .total = absl::Seconds(2)};
  generated.timings = {.queue = absl::Milliseconds(2),
                       .prefill = absl::Milliseconds(30),
                       .decode = absl::Milliseconds(8),
                       .time_to_first_token = absl::Milliseconds(32)};
  metrics.OnRequestDone(generated);
  RequestEvent refused;
  refused.kind = RequestKind::kScore;
  refused.code = absl::StatusCode::kResourceExhausted;
  metrics.OnRequestDone(refused);

  const std::string text = TextOf(metrics);
  const SeriesOf has{text};
  has("peerage_requests_total", ",code=\"OK\",method=\"generate\"", "1");
  has("peerage_requests_total", ",code=\"RESOURCE_EXHAUSTED\",method=\"score\"", "1");
  has("peerage_requests_refused_total", ",reason=\"queue_full\"", "1");
  has("peerage_requests_refused_total", ",reason=\"draining\"", "0");
  has("peerage_candidates_finished_total", ",reason=\"stop\"", "1");
  has("peerage_candidates_finished_total", ",reason=\"length\"", "2");
  has("peerage_request_prompt_tokens_sum", "", "7");
  has("peerage_request_generation_tokens_sum", "", "3");
  has("peerage_request_queue_seconds_count", "", "1");
  has("peerage_request_prefill_seconds_count", "", "1");
  has("peerage_request_time_per_output_token_seconds_sum", "", "0.004");
  has("peerage_request_e2e_seconds_sum", ",method=\"generate\"", "2");
  has("peerage_request_e2e_seconds_count", ",method=\"score\"", "0");
}

TEST(EngineMetricsTest, TellsWhereCancelledRequestsWere) {
  EngineMetrics metrics("m");
  RequestEvent event{.code = absl::StatusCode::kCancelled, .unfinished_candidates = 2};
  metrics.OnRequestDone(event);
  event.scheduled = true;
  metrics.OnRequestDone(event);
  metrics.OnRequestDone(event);
  event.timings.time_to_first_token = absl::Seconds(1);
  metrics.OnRequestDone(event);
  event.code = absl::StatusCode::kDeadlineExceeded;
  metrics.OnRequestDone(event);
  event.code = absl::StatusCode::kInternal;
  event.unfinished_candidates = 1;
  metrics.OnRequestDone(event);

  const std::string text = TextOf(metrics);
  EXPECT_THAT(text, HasSubstr("stage=\"queue\"} 1"));
  EXPECT_THAT(text, HasSubstr("stage=\"prefill\"} 2"));
  EXPECT_THAT(text, HasSubstr("stage=\"decode\"} 1"));
  EXPECT_THAT(text, HasSubstr("reason=\"cancelled\"} 8"));
  EXPECT_THAT(text, HasSubstr("reason=\"deadline\"} 2"));
  EXPECT_THAT(text, HasSubstr("reason=\"error\"} 1"));
}

TEST(EngineMetricsTest, FoldsACodeFromOutsideTheSetIntoUnknown) {
  EngineMetrics metrics("m");
  RequestEvent event;
  event.code = static_cast<absl::StatusCode>(99);
  metrics.OnRequestDone(event);
  EXPECT_THAT(TextOf(metrics), HasSubstr("code=\"UNKNOWN\",method=\"generate\"} 1"));
}

TEST(EngineMetricsTest, TakesAllTokensOfATurnIn) {
  EngineMetrics metrics("m");
  metrics.OnTokens({.prompt = 5,
                    .generated = 3,
                    .scored = 4,
                    .first_token_seconds = {0.02, 100},
                    .inter_token_seconds = {0.001, 0.0011, 0.0055}});
  metrics.OnTokens({.prompt = 1});

  const std::string text = TextOf(metrics);
  const auto has = [&text](const std::string& line) { EXPECT_THAT(text, HasSubstr(line + "\n")); };
  has("peerage_prompt_tokens_total{model_name=\"m\"} 6");
  has("peerage_generation_tokens_total{model_name=\"m\"} 3");
  has("peerage_scored_tokens_total{model_name=\"m\"} 4");
  has("peerage_time_to_first_token_seconds_bucket{model_name=\"m\",le=\"0.01\"} 0");
  has("peerage_time_to_first_token_seconds_bucket{model_name=\"m\",le=\"0.02\"} 1");
  has("peerage_time_to_first_token_seconds_bucket{model_name=\"m\",le=\"80\"} 1");
  has("peerage_time_to_first_token_seconds_bucket{model_name=\"m\",le=\"+Inf\"} 2");
  has("peerage_inter_token_latency_seconds_bucket{model_name=\"m\",le=\"0.001\"} 1");
  has("peerage_inter_token_latency_seconds_bucket{model_name=\"m\",le=\"0.002\"} 2");
  has("peerage_inter_token_latency_seconds_bucket{model_name=\"m\",le=\"0.006\"} 3");
  has("peerage_inter_token_latency_seconds_sum{model_name=\"m\"} 0.0076");
}

TEST(EngineMetricsTest, GaugesAreReadWhenTheyAreAskedFor) {
  EngineMetrics metrics("m");
  const auto expect_blocks = [&metrics](const char* free, const char* used) {
    const std::string text = TextOf(metrics);
    SeriesOf{text}("peerage_kv_cache_blocks", ",state=\"free\"", free);
    SeriesOf{text}("peerage_kv_cache_blocks", ",state=\"used\"", used);
  };
  expect_blocks("0", "0");

  EngineStatus status = {.kv_blocks_total = 10, .kv_blocks_free = 10};
  metrics.Watch([&status] { return status; });
  expect_blocks("10", "0");
  status.kv_blocks_free = 4;  // no event tells of it
  expect_blocks("4", "6");
}

TEST(EngineMetricsTest, ShowsTheLastStepAndHowThingsStand) {
  EngineMetrics metrics("m");
  metrics.OnStep({.duration = absl::Milliseconds(3),
                  .prefill_tokens = 30,
                  .decode_tokens = 2,
                  .sequences = 3});
  metrics.OnTurn({.overhead = absl::Milliseconds(250)});
  metrics.Watch([] {
    return EngineStatus{.requests_waiting = 4,
                        .waiting_for_blocks = 4,
                        .waiting_prompt_tokens = 31,
                        .requests_running = 3,
                        .requests_parked = 1,
                        .kv_blocks_total = 10,
                        .kv_blocks_free = 4,
                        .last_turn = absl::FromUnixMillis(1'500)};
  });

  const std::string text = TextOf(metrics);
  const SeriesOf has{text};
  has("peerage_requests_running", "", "3");
  has("peerage_requests_waiting", "", "4");
  has("peerage_requests_waiting_by_reason", ",reason=\"kv_blocks\"", "4");
  has("peerage_requests_waiting_by_reason", ",reason=\"slots\"", "0");
  has("peerage_queued_prompt_tokens", "", "31");
  has("peerage_streams_parked", "", "1");
  has("peerage_engine_heartbeat_timestamp_seconds", "", "1.5");
  has("peerage_engine_overhead_seconds_total", "", "0.25");
  has("peerage_kv_cache_usage_ratio", "", "0.6");
  has("peerage_kv_cache_blocks", ",state=\"used\"", "6");
  has("peerage_kv_cache_blocks", ",state=\"free\"", "4");
  has("peerage_step_tokens_sum", "", "32");
  has("peerage_step_sequences_sum", "", "3");
  has("peerage_step_seconds_bucket", ",phase=\"mixed\",le=\"0.002\"", "0");
  has("peerage_step_seconds_bucket", ",phase=\"mixed\",le=\"0.005\"", "1");
  has("peerage_step_seconds_count", ",phase=\"decode\"", "0");
}

TEST(EngineMetricsTest, TellsWhatRunsHere) {
  EngineMetrics metrics("a\"b");
  metrics.SetInfo(Info());
  const std::string text = TextOf(metrics);
  EXPECT_THAT(text, HasSubstr("version=\"1.2\""));
  EXPECT_THAT(text, HasSubstr("model_name=\"a\\\"b\""));
  EXPECT_THAT(text, HasSubstr("experts=\"49\",fingerprint=\"\",heads=\"3\",top_k=\"5\""));
  EXPECT_THAT(text, HasSubstr("block_size=\"16\",num_blocks=\"77\"} 1"));
  EXPECT_THAT(text, HasSubstr("part=\"weights\"} 1000000"));
}

TEST(ObserverFanOutTest, TellsEveryObserverOfEveryEvent) {
  EngineMetrics first("m");
  EngineMetrics second("m");
  ObserverFanOut observers({&first, &second});
  observers.OnStep({.decode_tokens = 2});
  observers.OnTokens({.prompt = 7});
  observers.OnTurn({.overhead = absl::Seconds(6)});
  observers.OnRequestDone({.code = absl::StatusCode::kCancelled});
  for (const char* line :
       {"peerage_step_tokens_sum{model_name=\"m\"} 2",
        "peerage_engine_overhead_seconds_total{model_name=\"m\"} 6",
        "peerage_prompt_tokens_total{model_name=\"m\"} 7", "stage=\"queue\"} 1"}) {
    EXPECT_THAT(TextOf(first), HasSubstr(line));
  }
  EXPECT_EQ(TextOf(first), TextOf(second));
}

TEST(ProcessMetricsTest, TellOfThisProcess) {
  const ProcessMetrics metrics("m");
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : metrics.Collect()) {
    ASSERT_EQ(family.metric.size(), 1u);
    const prometheus::ClientMetric& metric = family.metric[0];
    values[family.name] =
        family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
  }
  EXPECT_EQ(values.size(), 6u);
  EXPECT_GT(values["process_resident_memory_bytes"], 1e6);
  rusage usage = {};
  ASSERT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  const double seconds =
      static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
      1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  EXPECT_NEAR(values["process_cpu_seconds_total"], seconds, 0.1);  // both count in ticks
  EXPECT_GE(values["process_open_fds"], 3);
  EXPECT_GE(values["process_max_fds"], values["process_open_fds"]);
  EXPECT_GE(values["process_threads"], 1);
  // A system's clock may be anything, but the process began after the machine did.
  EXPECT_GT(values["process_start_time_seconds"], 1e9);
}

}  // namespace
}  // namespace peerage
