#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "client/bench/figures.h"
#include "client/bench/run_report.h"

namespace peerage::client {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;

struct Times {
  double due, sent, ended;
};

CallRecord Call(size_t number, Times seconds, uint32_t prompt, std::vector<Arrived> arrived) {
  CallRecord record{.begun = {.call = number,
                              .due = absl::Seconds(seconds.due),
                              .intended = absl::Seconds(seconds.due)},
                    .sent = absl::Seconds(seconds.sent),
                    .ended = absl::Seconds(seconds.ended),
                    .prompt_tokens = prompt,
                    .arrived = std::move(arrived)};
  for (const Arrived& tokens : record.arrived) record.output_tokens += tokens.tokens;
  return record;
}

CallRecord Failed(size_t number, absl::Status status) {
  // Long, with tokens: none of it may show.
  CallRecord record = Call(number, {0, 0, 90}, 1000, {{0.001F, 50}, {80, 50}});
  record.status = std::move(status);
  return record;
}

RunRecords Records() {
  return {.calls = {Call(0, {0, 0.01, 0.5}, 10, {{0.1F, 1}, {0.1F, 1}, {0.2F, 1}}),
                    Call(1, {0.2, 0.2, 1.5}, 20, {{0.3F, 1}, {0.9F, 2}}),
                    Failed(2, absl::ResourceExhaustedError("the queue is full")),
                    Call(3, {1, 1, 2}, 30, {{0.9F, 1}}),
                    Failed(4, absl::InternalError("the model broke"))},
          .duration = absl::Seconds(2.5)};
}

RunDescription Description() {
  RunDescription description{.date = "20260102-030405",
                             .model = "m",
                             .fingerprint = "abc",
                             .server_version = "1.2.3",
                             .num_prompts = 5,
                             .seed = 9,
                             .traffic = {.request_rate = 4, .max_concurrency = 8},
                             .goodput = {.ttft_ms = 500, .tpot_ms = 600}};
  for (const LatencyName& name : LatencyNames()) description.shown.insert(name.latency);
  return description;
}

const std::vector<double> kPercents = {50, 90, 99.9};

// Labels, order, widths and figures as `vllm bench serve` prints them for these calls.
constexpr char kBlock[] =
    "============ Serving Benchmark Result ============\n"
    "Successful requests:                     3         \n"
    "Failed requests:                         2         \n"
    "Maximum request concurrency:             8         \n"
    "Request rate configured (RPS):           4.00      \n"
    "Benchmark duration (s):                  2.50      \n"
    "Total input tokens:                      60        \n"
    "Total generated tokens:                  7         \n"
    "Request throughput (req/s):              1.20      \n"
    "Request goodput (req/s):                 0.80      \n"
    "Output token throughput (tok/s):         2.80      \n"
    "Peak output token throughput (tok/s):    4.00      \n"
    "Peak concurrent requests:                2.00      \n"
    "Total token throughput (tok/s):          26.80     \n"
    "---------------Time to First Token----------------\n"
    "Mean TTFT (ms):                          433.33    \n"
    "Median TTFT (ms):                        300.00    \n"
    "P50 TTFT (ms):                           300.00    \n"
    "P90 TTFT (ms):                           780.00    \n"
    "P99.9 TTFT (ms):                         898.80    \n"
    "-----Time per Output Token (excl. 1st token)------\n"
    "Mean TPOT (ms):                          350.00    \n"
    "Median TPOT (ms):                        350.00    \n"
    "P50 TPOT (ms):                           350.00    \n"
    "P90 TPOT (ms):                           470.00    \n"
    "P99.9 TPOT (ms):                         499.70    \n"
    "---------------Inter-token Latency----------------\n"
    "Mean ITL (ms):                           400.00    \n"
    "Median ITL (ms):                         200.00    \n"
    "P50 ITL (ms):                            200.00    \n"
    "P90 ITL (ms):                            760.00    \n"
    "P99.9 ITL (ms):                          898.60    \n"
    "----------------End-to-end Latency----------------\n"
    "Mean E2EL (ms):                          933.33    \n"
    "Median E2EL (ms):                        1000.00   \n"
    "P50 E2EL (ms):                           1000.00   \n"
    "P90 E2EL (ms):                           1240.00   \n"
    "P99.9 E2EL (ms):                         1299.40   \n"
    "---------------Client-side Queueing---------------\n"
    "Mean Client Queue Time (ms):             3.33      \n"
    "Median Client Queue Time (ms):           0.00      \n"
    "P50 Client Queue Time (ms):              0.00      \n"
    "P90 Client Queue Time (ms):              8.00      \n"
    "P99.9 Client Queue Time (ms):            9.98      \n"
    "--------Queue-inclusive End-to-end Latency--------\n"
    "Mean E2EL incl. Client Queue (ms):       933.33    \n"
    "Median E2EL incl. Client Queue (ms):     1000.00   \n"
    "P50 E2EL incl. Client Queue (ms):        1000.00   \n"
    "P90 E2EL incl. Client Queue (ms):        1240.00   \n"
    "P99.9 E2EL incl. Client Queue (ms):      1299.40   \n"
    "==================================================\n";

RunFigures Figures() { return FiguresOf(Records(), kPercents, Description().goodput); }

TEST(RunReportTest, PrintsVllmsBlockLineForLine) {
  EXPECT_THAT(RunText(Description(), Figures()), StartsWith(kBlock));
}

TEST(RunReportTest, SaysBelowItWhatWasNotServed) {
  RunRecords records = Records();
  records.unfinished = 4;
  records.calls[0].begun.retries = 2;
  records.calls[0].cached_prompt_tokens = 8;
  EXPECT_EQ(RunText(Description(), FiguresOf(records, kPercents, Description().goodput)),
            absl::StrCat(kBlock,
                         "1 not served: INTERNAL: the model broke\n"
                         "1 not served: RESOURCE_EXHAUSTED: the queue is full\n"
                         "4 not made to the end\n"
                         "2 sent again\n"
                         "8 of 60 prompt tokens came from the cache\n"));
}

TEST(RunReportTest, PrintsWhatIsAskedAndThere) {
  RunDescription description = Description();
  description.shown = {Latency::kEndToEnd, Latency::kClientQueue};
  description.traffic = {};
  description.goodput = {};
  const std::string text = RunText(description, Figures());
  EXPECT_THAT(text, HasSubstr("Mean E2EL"));
  for (const char* line : {"TTFT", "Queue", "Maximum request", "configured", "goodput"}) {
    EXPECT_THAT(text, Not(HasSubstr(line)));
  }
}

TEST(RunReportTest, OfScoresHasItemsAndScoredTokens) {
  RunRecords records = Records();
  for (CallRecord& call : records.calls) call.items = 4;
  RunDescription description = Description();
  description.score = true;
  const RunFigures figures = FiguresOf(records, kPercents, {});
  const std::string text = RunText(description, figures);
  EXPECT_THAT(text, HasSubstr("Total scored tokens:                     7         \n"));
  EXPECT_THAT(text, HasSubstr("Item throughput (items/s):               4.80      \n"));
  EXPECT_THAT(text, HasSubstr("Scored token throughput (tok/s):         2.80      \n"));
  EXPECT_THAT(text, HasSubstr("P99.9 E2EL (ms):                         1299.40   \n"));
  EXPECT_THAT(text, Not(HasSubstr("TTFT")));
  const Json json = RunJson(description, figures, records, /*detail=*/false);
  EXPECT_EQ(json["items"], 12);
  EXPECT_DOUBLE_EQ(json["item_throughput"], 4.8);
  EXPECT_FALSE(json.contains("mean_ttft_ms"));
}

std::set<std::string> KeysOf(const Json& json) {
  std::set<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.insert(key);
  return keys;
}

TEST(RunReportTest, WritesVllmsKeysAndOurs) {
  const Json json = RunJson(Description(), Figures(), Records(), /*detail=*/true);
  const std::set<std::string> keys = KeysOf(json);
  EXPECT_THAT(keys, IsSupersetOf(std::vector<std::string>{"date",
                                                          "endpoint_type",
                                                          "backend",
                                                          "label",
                                                          "model_id",
                                                          "tokenizer_id",
                                                          "num_prompts",
                                                          "request_rate",
                                                          "burstiness",
                                                          "max_concurrency",
                                                          "duration",
                                                          "completed",
                                                          "failed",
                                                          "total_input_tokens",
                                                          "total_output_tokens",
                                                          "request_throughput",
                                                          "request_goodput",
                                                          "output_throughput",
                                                          "total_token_throughput",
                                                          "input_lens",
                                                          "output_lens",
                                                          "ttfts",
                                                          "itls",
                                                          "latencies",
                                                          "start_times",
                                                          "queue_times",
                                                          "generated_texts",
                                                          "errors",
                                                          "max_output_tokens_per_s",
                                                          "max_concurrent_requests"}));
  for (const std::string name : {"ttft", "tpot", "itl", "e2el", "client_queue_time"}) {
    for (const std::string figure : {"mean", "median", "std", "p50", "p90", "p99.9"}) {
      EXPECT_THAT(keys, Contains(absl::StrCat(figure, "_", name, "_ms")));
    }
  }
  EXPECT_THAT(keys, IsSupersetOf(std::vector<std::string>{
                        "mode", "seed", "server_version", "model_fingerprint", "codes", "retries",
                        "unfinished", "cached_prompt_tokens", "output_tokens_by_second"}));

  EXPECT_EQ(json["request_rate"], 4);
  EXPECT_DOUBLE_EQ(json["p90_ttft_ms"].get<double>(),
                   Figures().latencies.at(Latency::kTimeToFirstToken).percentiles[1].second);
  EXPECT_EQ(json["codes"], Json({{"INTERNAL", 1}, {"OK", 3}, {"RESOURCE_EXHAUSTED", 1}}));
  EXPECT_EQ(json["errors"], Json({"", "", "the queue is full", "", "the model broke"}));
  EXPECT_THAT(json["ttfts"][2], Json(nullptr));
  EXPECT_THAT(json["latencies"][2], Json(nullptr));
  EXPECT_EQ(json["output_tokens_by_second"], Json({4, 3}));
}

TEST(RunReportTest, KeepsWhatIsManyForDetail) {
  const auto keys = KeysOf(RunJson(Description(), Figures(), Records(), /*detail=*/false));
  EXPECT_THAT(keys, Not(Contains("itls")));
  EXPECT_THAT(keys, Not(Contains("generated_texts")));
  RunDescription description = Description();
  description.traffic = {.ramp_up = RampUp{.exponential = true, .start_rps = 1, .end_rps = 5}};
  const Json json = RunJson(description, Figures(), Records(), /*detail=*/false);
  EXPECT_EQ(json["request_rate"], "inf");
  EXPECT_EQ(json["max_concurrency"], nullptr);
  EXPECT_EQ(json["ramp_up_strategy"], "exponential");
  EXPECT_EQ(json["ramp_up_start_rps"], 1);
  EXPECT_EQ(json["ramp_up_end_rps"], 5);
}

// vLLM's goodput: every bound that is given is kept, and one token alone has no time per token.
TEST(RunFiguresTest, CountsWhatIsGood) {
  const auto good = [](const Goodput& goodput) { return FiguresOf(Records(), {}, goodput).good; };
  EXPECT_EQ(good({.ttft_ms = 300.001}), 2);
  EXPECT_EQ(good({.ttft_ms = 299}), 1);
  EXPECT_EQ(good({.tpot_ms = 300}), 2);  // the first and the one with one token
  EXPECT_EQ(good({.e2el_ms = 1000}), 2);
  EXPECT_EQ(good({.ttft_ms = 1000, .tpot_ms = 300, .e2el_ms = 500}), 1);
  EXPECT_EQ(good({.e2el_ms = 0}), 0);
}

TEST(RunFiguresTest, OfNothingAreZero) {
  const RunFigures figures = FiguresOf({}, kPercents, {.ttft_ms = 1});
  EXPECT_EQ(figures.completed, 0);
  EXPECT_EQ(figures.Rate(5), 0);
  EXPECT_EQ(figures.peak_output_tokens(), 0);
  EXPECT_THAT(RunText(Description(), figures),
              HasSubstr("P99.9 E2EL (ms):                         0.00"));
}

}  // namespace
}  // namespace peerage::client
