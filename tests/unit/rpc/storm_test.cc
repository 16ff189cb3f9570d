// Clients that give up, in their tens of thousands, at random points of their calls.
// PEERAGE_STORM_CALLS says how many cancel, and half as many are late; PEERAGE_STORM_SEED which.
#include "tests/unit/rpc/storm.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/metrics/engine_metrics.h"
#include "server/metrics/text_exposition.h"
#include "tests/unit/rpc/test_server.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

// What a storm's server tells, and when the storm's requests were computed.
class StormWatch final : public EngineObserver {
 public:
  // Until then no request may end.
  void Begin(const Storm* storm, const Clock* clock) { storm_ = storm, clock_ = clock; }

  // On the worker's thread, as all that touches steps_.
  void OnStepOf(int64_t number) { last_step_[number] = clock_->Now(); }

  void OnStep(const StepEvent& event) override { metrics_.OnStep(event); }
  void OnTurn(const TurnEvent& event) override { metrics_.OnTurn(event); }
  void OnTokens(const TokensEvent& event) override { metrics_.OnTokens(event); }
  void OnRequestDone(const RequestEvent& event) override {
    metrics_.OnRequestDone(event);
    if (event.admitted) CheckTimes(event);
    absl::MutexLock lock(&mu_);
    ++requests_[event.code];
    if (event.kind == RequestKind::kGenerate) generated_ += event.completion_tokens;
  }
  void OnCallDone(const CallEvent& event) override {
    absl::MutexLock lock(&mu_);
    ++calls_[event.code];
  }

  EngineMetrics& metrics() { return metrics_; }
  std::map<absl::StatusCode, int64_t> requests() const {
    absl::MutexLock lock(&mu_);
    return requests_;
  }
  std::map<absl::StatusCode, int64_t> calls() const {
    absl::MutexLock lock(&mu_);
    return calls_;
  }
  int64_t generated() const {
    absl::MutexLock lock(&mu_);
    return generated_;
  }

 private:
  // The worker's thread: its clock stands still between steps.
  void CheckTimes(const RequestEvent& event) {
    int64_t number = 0;
    ASSERT_TRUE(absl::SimpleAtoi(event.origin.request_id, &number));
    const absl::Duration timeout = storm_->TimeoutOf(number);
    const absl::Time arrival = clock_->Now() - event.total;
    if (event.code == absl::StatusCode::kDeadlineExceeded) {
      EXPECT_GE(clock_->Now(), arrival + 0.99 * timeout) << "call " << number;
    }
    const auto step = last_step_.find(number);
    if (step == last_step_.end()) return;
    EXPECT_TRUE(event.scheduled) << "call " << number;
    if (timeout > absl::ZeroDuration()) {  // which travels rounded up by up to 1 %
      EXPECT_LT(step->second, arrival + 1.011 * timeout)
          << "call " << number << " was computed after its deadline";
    }
    last_step_.erase(step);
  }

  const Storm* storm_ = nullptr;
  const Clock* clock_ = nullptr;
  EngineMetrics metrics_{"fake"};
  std::map<int64_t, absl::Time> last_step_;

  mutable absl::Mutex mu_;
  std::map<absl::StatusCode, int64_t> requests_ ABSL_GUARDED_BY(mu_);
  std::map<absl::StatusCode, int64_t> calls_ ABSL_GUARDED_BY(mu_);
  int64_t generated_ ABSL_GUARDED_BY(mu_) = 0;
};

class StormTest : public ::testing::Test {
 protected:
  static int64_t Calls() { return FromEnvironment("PEERAGE_STORM_CALLS", 4000); }

  Storm& Begin(StormOptions options) {
    options.seed = FromEnvironment("PEERAGE_STORM_SEED", 14);
    RecordProperty("seed", std::to_string(options.seed));
    storm_.emplace(grpc::CreateChannel(server_->rpc().address().ToString(),
                                       grpc::InsecureChannelCredentials()),
                   options);
    if (options.timeout_unit > absl::ZeroDuration()) step_takes_ = options.timeout_unit;
    watch_.Begin(&*storm_, &server_->clock());
    watch_.metrics().Watch([this] { return server_->engine().status(); });
    return *storm_;
  }

  // The clock moves within steps alone, so whoever is in a step can be told to be late.
  void TellStep(const std::vector<std::vector<TokenId>>& sequences) {
    for (const std::vector<TokenId>& tokens : sequences) {
      const std::optional<int64_t> number = Storm::NumberOf(tokens);
      if (number) watch_.OnStepOf(*number);
    }
    server_->clock().Advance(step_takes_);
  }

  // Every call has ended, nothing is held, and all sums fit together.
  void EndAndExpectIdle() {
    server_->rpc().Shutdown(absl::InfiniteFuture(), absl::InfiniteFuture());
    server_->AwaitIdle();
    EXPECT_EQ(server_->model().num_open_slots(), 0);
    EXPECT_EQ(watch_.calls(), watch_.requests());
    const std::string text = TextExposition({&watch_.metrics().collectable()});
    for (const char* gauge : {"requests_running", "requests_waiting", "queued_prompt_tokens",
                              "streams_parked", "kv_cache_usage_ratio"}) {
      EXPECT_THAT(text, HasSubstr(absl::StrCat("peerage_", gauge, "{model_name=\"fake\"} 0\n")));
    }
    EXPECT_EQ(Series(text, "peerage_generation_tokens_total", ""), watch_.generated());
    EXPECT_GE(watch_.generated(), storm_->tokens_read());
    int64_t requests = 0;
    for (const auto& [code, count] : watch_.requests()) requests += count;
    EXPECT_EQ(Series(text, "peerage_requests_total", ""), requests);
    EXPECT_LE(requests, storm_->started());
  }

  // The sum of a family's series that have this label.
  static double Series(const std::string& text, const std::string& name, const std::string& label) {
    double sum = 0;
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      if (!absl::StartsWith(line, absl::StrCat(name, "{")) || !absl::StrContains(line, label)) {
        continue;
      }
      double value = 0;
      EXPECT_TRUE(absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value));
      sum += value;
    }
    return sum;
  }

  double Metric(const std::string& name, const std::string& label) {
    return Series(TextExposition({&watch_.metrics().collectable()}), name, label);
  }

  StormWatch watch_;
  absl::Duration step_takes_ = absl::Milliseconds(1);
  std::unique_ptr<TestServer> server_ = std::make_unique<TestServer>(TestServerOptions{
      .model = {.at_step = [this](const auto& sequences) { TellStep(sequences); }},
      .engine = {.max_batch_tokens = 16},  // so that prompts take a few steps
      .door = false,                       // which would end connections that storm
      .observer = &watch_});
  std::optional<Storm> storm_;
};

TEST_F(StormTest, CancellationsAtRandomPointsLeaveNothingBehind) {
  Storm& storm = Begin({.cancels = true});

  storm.RunUntil(grpc::StatusCode::CANCELLED, Calls() / 2);
  server_->AwaitIdle();
  const size_t held_before = mallinfo2().uordblks;
  storm.RunUntil(grpc::StatusCode::CANCELLED, Calls());
  server_->AwaitIdle();
  const size_t held = mallinfo2().uordblks;

  EXPECT_LT(held, held_before + 100 * Calls() / 2) << "each call leaves something behind";
  EndAndExpectIdle();
  for (const std::string stage : {"queue", "prefill", "decode"}) {
    EXPECT_GT(Metric("peerage_requests_cancelled_total", stage), 0) << stage;
  }
  EXPECT_GT(storm.ended(grpc::StatusCode::OK), 0);
}

TEST_F(StormTest, NothingIsComputedForWhoeverIsLate) {
  Storm& storm = Begin({.timeout_unit = absl::Seconds(1000)});

  storm.RunUntil(grpc::StatusCode::DEADLINE_EXCEEDED, Calls() / 2);

  EndAndExpectIdle();
  // Every call came, and the server knows what its client knows.
  using Codes = std::map<absl::StatusCode, int64_t>;
  EXPECT_EQ(watch_.requests(), (Codes{{absl::StatusCode::kOk, storm.ended(grpc::StatusCode::OK)},
                                      {absl::StatusCode::kDeadlineExceeded,
                                       storm.ended(grpc::StatusCode::DEADLINE_EXCEEDED)}}));
  EXPECT_GT(Metric("peerage_requests_refused_total", "deadline"), 0);
  EXPECT_GT(Metric("peerage_candidates_finished_total", "deadline"), 0);
}

}  // namespace
}  // namespace peerage
