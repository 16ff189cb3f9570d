#include "client/call_status.h"

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <string>

namespace peerage::client {
namespace {

template <typename Detail>
grpc::Status StatusWith(grpc::StatusCode code, const Detail& detail) {
  google::rpc::Status details;
  details.set_code(code);
  details.add_details()->PackFrom(detail);
  return {code, "the message", details.SerializeAsString()};
}

TEST(CallStatusTest, KeepsCodeAndMessage) {
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
  const absl::Status status = FromGrpcStatus({grpc::StatusCode::NOT_FOUND, "no such model"});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(DescribeError(status), "NOT_FOUND: no such model");
}

TEST(CallStatusTest, CallsFieldsThatWereRefusedByTheirOptionsOnce) {
  google::rpc::BadRequest bad_request;
  for (const char* field : {"request.sampling.top_p", "stopping.stop[1]", "prompt.text", "promptly",
                            "prompt.chat.messages[1].role", "continuations[2].token_ids.ids[0]"}) {
    auto* violation = bad_request.add_field_violations();
    violation->set_field(field);
    violation->set_description("out of range");
  }
  EXPECT_EQ(
      DescribeError(FromGrpcStatus(StatusWith(grpc::StatusCode::INVALID_ARGUMENT, bad_request))),
      "INVALID_ARGUMENT: --top-p out of range; --stop (2.) out of range; the prompt out of range; "
      "promptly out of range; the prompt (chat.messages[1].role) out of range; the continuation "
      "(3. token_ids.ids[0]) out of range");
}

TEST(CallStatusTest, SaysWhenToTryAgain) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  EXPECT_EQ(DescribeError(FromGrpcStatus(StatusWith(grpc::StatusCode::RESOURCE_EXHAUSTED, retry))),
            "RESOURCE_EXHAUSTED: the message (try again in 0.25 s)");
}

TEST(CallStatusTest, SaysWhatToTryWhereNoServerOfOursAnswered) {
  const absl::Status refused = FromGrpcStatus({grpc::StatusCode::UNAVAILABLE,
                                               "failed to connect to all addresses; last error: "
                                               "UNKNOWN: ipv4:127.0.0.1:1: Failed to connect "
                                               "to remote host: Connection refused"});
  EXPECT_EQ(
      DescribeError(refused, "127.0.0.1:1"),
      "UNAVAILABLE: no answer from 127.0.0.1:1 (Connection refused): is peerage-server running "
      "there? --server or PEERAGE_SERVER names another");
  google::rpc::ErrorInfo info;
  info.set_domain("peerage");
  EXPECT_EQ(
      DescribeError(FromGrpcStatus(StatusWith(grpc::StatusCode::UNAVAILABLE, info)), "127.0.0.1:1"),
      "UNAVAILABLE: the message");
}

TEST(CallStatusTest, SaysWhichTimeIsOver) {
  EXPECT_EQ(
      DescribeError(FromGrpcStatus({grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"})),
      "DEADLINE_EXCEEDED: no answer within --timeout");
  google::rpc::ErrorInfo info;
  EXPECT_EQ(DescribeError(FromGrpcStatus(StatusWith(grpc::StatusCode::DEADLINE_EXCEEDED, info))),
            "DEADLINE_EXCEEDED: the message");
}

TEST(CallStatusTest, SaysLimitsInTheOptionsWords) {
  EXPECT_EQ(DescribeError(absl::OutOfRangeError("prompt and max_tokens have 9 tokens")),
            "OUT_OF_RANGE: prompt and --max-tokens have 9 tokens");
}

TEST(CallStatusTest, SurvivesDetailsThatAreGarbage) {
  const absl::Status status =
      FromGrpcStatus({grpc::StatusCode::INTERNAL, "two\nlines", "\xff\xff not a message"});
  EXPECT_EQ(DescribeError(status), "INTERNAL: two lines");
}

}  // namespace
}  // namespace peerage::client
