#include "server/metrics/engine_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

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

TEST(EngineMetricsTest, ExposesExactlyTheSeriesThatTheDocumentationLists) {
  EngineMetrics metrics;
  metrics.SetInfo(MetricsInfo());
  const std::string documentation = ReadFile("docs/metrics.md");

  // Rows of its table: | `name` | type | labels | meaning |
  EXPECT_EQ(MatchesOf(documentation, R"(\| `(peerage_[a-z0-9_]+)` \| [a-z]+ \|)"),
            MatchesOf(metrics.TextExposition(), R"(# TYPE (\S+) )"));
}

TEST(EngineMetricsTest, HasEverySeriesBeforeTheFirstRequest) {
  EngineMetrics metrics;
  const std::string text = metrics.TextExposition();
  EXPECT_THAT(text, HasSubstr("peerage_requests_total{code=\"OK\",method=\"generate\"} 0"));
  EXPECT_THAT(text,
              HasSubstr("peerage_requests_total{code=\"UNAUTHENTICATED\",method=\"score\"} 0"));
  EXPECT_THAT(text, HasSubstr("peerage_kv_cache_usage_ratio 0"));
}

TEST(EngineMetricsTest, CountsRequestsByMethodAndCode) {
  EngineMetrics metrics;
  RequestEvent generated;
  generated.prompt_tokens = 7;
  generated.completion_tokens = 3;
  generated.total = absl::Seconds(2);
  generated.queue = absl::Milliseconds(2);
  generated.time_to_first_token = absl::Milliseconds(15);
  metrics.OnRequestDone(generated);
  RequestEvent refused;
  refused.kind = RequestKind::kScore;
  refused.code = absl::StatusCode::kResourceExhausted;
  refused.prompt_tokens = 1;
  refused.completion_tokens = 50;
  metrics.OnRequestDone(refused);

  const std::string text = metrics.TextExposition();
  EXPECT_THAT(text, HasSubstr("peerage_requests_total{code=\"OK\",method=\"generate\"} 1"));
  EXPECT_THAT(text,
              HasSubstr("peerage_requests_total{code=\"RESOURCE_EXHAUSTED\",method=\"score\"} 1"));
  EXPECT_THAT(text, HasSubstr("peerage_prompt_tokens_total 8"));
  EXPECT_THAT(text, HasSubstr("peerage_generation_tokens_total 3"));
  EXPECT_THAT(text, HasSubstr("peerage_time_to_first_token_seconds_count 1"));
  EXPECT_THAT(text, HasSubstr("peerage_time_to_first_token_seconds_bucket{le=\"0.01\"} 0"));
  EXPECT_THAT(text, HasSubstr("peerage_time_to_first_token_seconds_bucket{le=\"0.02\"} 1"));
  EXPECT_THAT(text, HasSubstr("peerage_request_queue_seconds_count 2"));
  EXPECT_THAT(text, HasSubstr("peerage_request_e2e_seconds_sum 2"));
}

TEST(EngineMetricsTest, FoldsACodeFromOutsideTheSetIntoUnknown) {
  EngineMetrics metrics;
  RequestEvent event;
  event.code = static_cast<absl::StatusCode>(99);
  metrics.OnRequestDone(event);
  EXPECT_THAT(metrics.TextExposition(),
              HasSubstr("peerage_requests_total{code=\"UNKNOWN\",method=\"generate\"} 1"));
}

TEST(EngineMetricsTest, ShowsTheLastStep) {
  EngineMetrics metrics;
  metrics.OnStep({.duration = absl::Milliseconds(3),
                  .prefill_tokens = 30,
                  .decode_tokens = 2,
                  .requests_running = 3,
                  .requests_waiting = 4,
                  .kv_blocks_total = 10,
                  .kv_blocks_free = 4});

  const std::string text = metrics.TextExposition();
  EXPECT_THAT(text, HasSubstr("peerage_requests_running 3"));
  EXPECT_THAT(text, HasSubstr("peerage_requests_waiting 4"));
  EXPECT_THAT(text, HasSubstr("peerage_kv_cache_usage_ratio 0.6"));
  EXPECT_THAT(text, HasSubstr("peerage_kv_cache_blocks{state=\"used\"} 6"));
  EXPECT_THAT(text, HasSubstr("peerage_kv_cache_blocks{state=\"free\"} 4"));
  EXPECT_THAT(text, HasSubstr("peerage_step_tokens_sum 32"));
  EXPECT_THAT(text, HasSubstr("peerage_step_seconds_bucket{le=\"0.002\"} 0"));
  EXPECT_THAT(text, HasSubstr("peerage_step_seconds_bucket{le=\"0.005\"} 1"));
}

TEST(EngineMetricsTest, EscapesWhatTheModelIsCalled) {
  EngineMetrics metrics;
  MetricsInfo info;
  info.version = "1.2";
  info.model_name = "a\"b";
  metrics.SetInfo(info);
  const std::string text = metrics.TextExposition();
  EXPECT_THAT(text, HasSubstr("version=\"1.2\""));
  EXPECT_THAT(text, HasSubstr("model_name=\"a\\\"b\""));
}

TEST(ObserverFanOutTest, TellsEveryObserverOfEveryEvent) {
  EngineMetrics first;
  EngineMetrics second;
  ObserverFanOut observers({&first, &second});
  observers.OnStep({.decode_tokens = 2});
  observers.OnRequestDone({.prompt_tokens = 7});
  observers.OnQueueChanged(3, 4);
  EXPECT_THAT(first.TextExposition(), HasSubstr("peerage_step_tokens_sum 2"));
  EXPECT_THAT(first.TextExposition(), HasSubstr("peerage_prompt_tokens_total 7"));
  EXPECT_THAT(first.TextExposition(), HasSubstr("peerage_requests_waiting 4"));
  EXPECT_EQ(first.TextExposition(), second.TextExposition());
}

}  // namespace
}  // namespace peerage
