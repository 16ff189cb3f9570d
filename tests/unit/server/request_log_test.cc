#include "server/log/request_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;

constexpr char kGenerate[] = "peerage.v1.InferenceService/Generate";

class RequestLogTest : public ::testing::Test {
 protected:
  void Start(LogLevel level) {
    log_ = std::make_unique<Log>(LogOptions{.level = level}, &clock_, &out_);
    requests_ = std::make_unique<RequestLog>(log_.get());
  }

  // What was written, without its time; the log ends.
  std::vector<std::string> Lines() {
    log_.reset();
    std::vector<std::string> lines = absl::StrSplit(out_.str(), '\n', absl::SkipEmpty());
    for (std::string& line : lines) line.erase(0, line.find(' ') + 1);
    return lines;
  }

  FakeClock clock_;
  std::ostringstream out_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<RequestLog> requests_;
};

RequestEvent Answered() {
  RequestEvent event{.origin = {.method = kGenerate,
                                .request_id = "a \"b\"\n",
                                .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
                                .span_id = "00f067aa0ba902b7"},
                     .tenant = "t",
                     .admitted = true,
                     .scheduled = true,
                     .prompt_tokens = 7,
                     .completion_tokens = 3,
                     .total = absl::Seconds(2)};
  event.distinct_experts = 17;
  event.timings = {.queue = absl::Milliseconds(2),
                   .prefill = absl::Milliseconds(30),
                   .decode = absl::Milliseconds(8),
                   .time_to_first_token = absl::Milliseconds(32)};
  return event;
}

CallEvent Call(const std::string& method, absl::StatusCode code) {
  CallEvent event{.code = code, .duration = absl::Milliseconds(5)};
  event.origin.method = method;
  return event;
}

TEST_F(RequestLogTest, SaysOfARequestWhatItTookAndWhatItGot) {
  Start(LogLevel::kInfo);
  requests_->OnRequestDone(Answered());
  EXPECT_THAT(
      Lines(),
      ElementsAre("info request request_id=\"a \\\"b\\\"\\n\" "
                  "method=peerage.v1.InferenceService/Generate tenant=t code=OK "
                  "prompt_tokens=7 generated_tokens=3 distinct_experts=17 queue_seconds=0.002000 "
                  "prefill_seconds=0.030000 decode_seconds=0.008000 ttft_seconds=0.032000 "
                  "total_seconds=2.000000 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 "
                  "span_id=00f067aa0ba902b7"));
}

TEST_F(RequestLogTest, SaysOfARefusedRequestWhy) {
  Start(LogLevel::kInfo);
  RequestEvent event;
  event.kind = RequestKind::kScore;
  event.code = absl::StatusCode::kResourceExhausted;
  event.error = "the queue is full";
  requests_->OnRequestDone(event);
  event.code = absl::StatusCode::kInternal;
  event.error = std::string(1000, 'x');
  requests_->OnRequestDone(event);
  EXPECT_THAT(Lines(), ElementsAre("warn request code=RESOURCE_EXHAUSTED "
                                   "error=\"the queue is full\" prompt_tokens=0 scored_tokens=0 "
                                   "total_seconds=0.000000",
                                   "error request code=INTERNAL error=" + std::string(256, 'x') +
                                       " prompt_tokens=0 scored_tokens=0 total_seconds=0.000000"));
}

TEST_F(RequestLogTest, SaysOfACallWhatNoRequestSays) {
  Start(LogLevel::kInfo);
  requests_->OnCallDone(Call(kGenerate, absl::StatusCode::kOk));
  requests_->OnCallDone(Call(kGenerate, absl::StatusCode::kNotFound));
  requests_->OnCallDone(Call("grpc.health.v1.Health/Check", absl::StatusCode::kOk));
  EXPECT_THAT(Lines(), IsEmpty());

  Start(LogLevel::kInfo);
  requests_->OnCallDone(Call(kGenerate, absl::StatusCode::kUnimplemented));
  requests_->OnCallDone(Call("peerage.v1.InferenceService/Tokenize", absl::StatusCode::kOk));
  requests_->OnCallDone(
      Call("peerage.v1.InferenceService/ScoreStream", absl::StatusCode::kInvalidArgument));
  CallEvent unknown = Call("grpc.health.v1.Health/Check", absl::StatusCode::kNotFound);
  unknown.error = "no such service";
  requests_->OnCallDone(unknown);
  EXPECT_THAT(
      Lines(),
      ElementsAre("info call method=peerage.v1.InferenceService/Generate code=UNIMPLEMENTED "
                  "total_seconds=0.005000",
                  "info call method=peerage.v1.InferenceService/Tokenize code=OK "
                  "total_seconds=0.005000",
                  "info call method=peerage.v1.InferenceService/ScoreStream "
                  "code=INVALID_ARGUMENT total_seconds=0.005000",
                  "info call method=grpc.health.v1.Health/Check code=NOT_FOUND "
                  "error=\"no such service\" total_seconds=0.005000"));
}

TEST_F(RequestLogTest, ShowsHealthChecksOnlyToWhoDebugs) {
  Start(LogLevel::kDebug);
  requests_->OnCallDone(Call("grpc.health.v1.Health/Check", absl::StatusCode::kOk));
  EXPECT_THAT(Lines(), ElementsAre("debug call method=grpc.health.v1.Health/Check code=OK "
                                   "total_seconds=0.005000"));
}

TEST_F(RequestLogTest, TellsTheOperatorWhyAStepFailed) {
  Start(LogLevel::kInfo);
  requests_->OnStepFailed(absl::InternalError("std::bad_alloc"));
  EXPECT_THAT(Lines(), ElementsAre("error the model failed a step code=INTERNAL "
                                   "error=std::bad_alloc"));
}

TEST_F(RequestLogTest, LetsAFloodOfRefusalsHideNothingElse) {
  Start(LogLevel::kInfo);
  RequestEvent refused;
  refused.code = absl::StatusCode::kResourceExhausted;
  for (int i = 0; i < 1000; ++i) requests_->OnRequestDone(refused);
  requests_->OnRequestDone(Answered());
  clock_.Advance(absl::Seconds(1));
  requests_->OnTurn({});
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 102);  // 100 of a kind
  EXPECT_THAT(lines[100], EndsWith("span_id=00f067aa0ba902b7"));
  EXPECT_EQ(lines[101], "warn lines left out kind=\"request RESOURCE_EXHAUSTED\" lines=900");
}

}  // namespace
}  // namespace peerage
