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

TEST(CallStatusTest, NamesTheFieldsThatWereRefused) {
  google::rpc::BadRequest bad_request;
  for (const char* field : {"sampling.top_p", "stopping.stop[1]"}) {
    auto* violation = bad_request.add_field_violations();
    violation->set_field(field);
    violation->set_description("out of range");
  }
  EXPECT_EQ(
      DescribeError(FromGrpcStatus(StatusWith(grpc::StatusCode::INVALID_ARGUMENT, bad_request))),
      "INVALID_ARGUMENT: the message (sampling.top_p: out of range; stopping.stop[1]: out of "
      "range)");
}

TEST(CallStatusTest, SaysWhenToTryAgain) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  EXPECT_EQ(DescribeError(FromGrpcStatus(StatusWith(grpc::StatusCode::RESOURCE_EXHAUSTED, retry))),
            "RESOURCE_EXHAUSTED: the message (try again in 0.25 s)");
}

TEST(CallStatusTest, SurvivesDetailsThatAreGarbage) {
  const absl::Status status =
      FromGrpcStatus({grpc::StatusCode::INTERNAL, "two\nlines", "\xff\xff not a message"});
  EXPECT_EQ(DescribeError(status), "INTERNAL: two lines");
}

}  // namespace
}  // namespace peerage::client
