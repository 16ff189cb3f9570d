#include "server/metrics/call_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/metrics/text_exposition.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string TextOf(const CallMetrics& metrics) { return TextExposition({&metrics.collectable()}); }

std::string Series(const std::string& suffix, const std::string& method, const std::string& code,
                   const std::string& more = "") {
  return "peerage_grpc_server_call_duration_seconds_" + suffix +
         "{model_name=\"m\",grpc_method=\"" + method + "\",grpc_status=\"" + code + "\"" + more +
         "} ";
}

CallEvent Call(const std::string& method, absl::StatusCode code, absl::Duration duration) {
  CallEvent event;
  event.origin.method = method;
  event.code = code;
  event.duration = duration;
  return event;
}

TEST(CallMetricsTest, HasEveryMethodFromTheStart) {
  const CallMetrics metrics("m", {"a.B/C", "a.B/D"});
  const std::string text = TextOf(metrics);
  for (const std::string method : {"a.B/C", "a.B/D", "other"}) {
    EXPECT_THAT(text, HasSubstr(Series("count", method, "OK") + "0\n"));
  }
  EXPECT_THAT(text, Not(HasSubstr("CANCELLED")));
}

TEST(CallMetricsTest, CountsByMethodAndStatusInTheBucketsOfGrpc) {
  CallMetrics metrics("m", {"a.B/C"});
  metrics.OnCallDone(Call("a.B/C", absl::StatusCode::kOk, absl::Microseconds(250)));
  metrics.OnCallDone(Call("a.B/C", absl::StatusCode::kOk, absl::Seconds(30)));
  metrics.OnCallDone(Call("a.B/C", absl::StatusCode::kCancelled, absl::Seconds(200)));
  metrics.OnCallDone(Call("a.B/C", absl::StatusCode::kCancelled, absl::Seconds(1)));
  metrics.OnCallDone(Call("a.B/C", static_cast<absl::StatusCode>(99), absl::Seconds(1)));

  const std::string text = TextOf(metrics);
  EXPECT_THAT(text, HasSubstr(Series("count", "a.B/C", "OK") + "2\n"));
  EXPECT_THAT(text, HasSubstr(Series("sum", "a.B/C", "OK") + "30.00025\n"));
  EXPECT_THAT(text, HasSubstr(Series("bucket", "a.B/C", "OK", ",le=\"0.0001\"") + "0\n"));
  EXPECT_THAT(text, HasSubstr(Series("bucket", "a.B/C", "OK", ",le=\"0.0003\"") + "1\n"));
  EXPECT_THAT(text, HasSubstr(Series("bucket", "a.B/C", "OK", ",le=\"50\"") + "2\n"));
  EXPECT_THAT(text, HasSubstr(Series("bucket", "a.B/C", "CANCELLED", ",le=\"100\"") + "1\n"));
  EXPECT_THAT(text, HasSubstr(Series("count", "a.B/C", "CANCELLED") + "2\n"));
  EXPECT_THAT(text, HasSubstr(Series("count", "a.B/C", "UNKNOWN") + "1\n"));
}

TEST(CallMetricsTest, KnowsNoNameOfAStranger) {
  CallMetrics metrics("m", {"a.B/C"});
  metrics.OnCallDone(Call("evil", absl::StatusCode::kUnimplemented, absl::Seconds(1)));
  metrics.OnCallDone(Call("", absl::StatusCode::kUnimplemented, absl::Seconds(1)));

  const std::string text = TextOf(metrics);
  EXPECT_THAT(text, HasSubstr(Series("count", "other", "UNIMPLEMENTED") + "2\n"));
  EXPECT_THAT(text, Not(HasSubstr("evil")));
}

}  // namespace
}  // namespace peerage
