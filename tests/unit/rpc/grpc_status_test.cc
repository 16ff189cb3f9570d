#include "server/rpc/grpc_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "server/engine/error_reason.h"
#include "server/engine/retry_delay.h"
#include "server/rpc/request/field_errors.h"

namespace peerage {
namespace {

// The detail of type T, or an empty one.
template <typename T>
T Detail(const google::rpc::Status& status) {
  T result;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&result)) break;
  }
  return result;
}

TEST(GrpcStatusTest, CarriesEveryFieldViolation) {
  FieldErrors errors;
  errors.Add("sampling.top_p", "must be in (0, 1]");
  errors.Add("continuations[2].text", "must have at least one token");

  const google::rpc::Status status = ToRpcStatus(errors.ToStatus());

  EXPECT_EQ(status.code(), 3);
  EXPECT_EQ(status.message(), "sampling.top_p must be in (0, 1] (and 1 more)");
  const auto bad_request = Detail<google::rpc::BadRequest>(status);
  ASSERT_EQ(bad_request.field_violations_size(), 2);
  EXPECT_EQ(bad_request.field_violations(0).field(), "sampling.top_p");
  EXPECT_EQ(bad_request.field_violations(0).description(), "must be in (0, 1]");
  EXPECT_EQ(bad_request.field_violations(1).field(), "continuations[2].text");
}

TEST(GrpcStatusTest, ListsSoManyViolationsAsTrailersHold) {
  FieldErrors errors;
  for (int i = 0; i < 100'000; ++i) {
    EXPECT_EQ(errors.full(), i >= 16);
    errors.Add(absl::StrCat("stopping.stop_token_ids[", i, "]"), "must be below 32");
  }

  const google::rpc::Status status = ToRpcStatus(errors.ToStatus());

  EXPECT_EQ(Detail<google::rpc::BadRequest>(status).field_violations_size(), 16);
  EXPECT_THAT(status.message(), ::testing::EndsWith("(and at least 15 more)"));
  EXPECT_LT(status.ByteSizeLong(), 4096);
}

TEST(GrpcStatusTest, NamesAReasonInOurDomainForEveryError) {
  for (int code = 1; code <= 16; ++code) {
    const google::rpc::Status status =
        ToRpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "why"));
    const auto info = Detail<google::rpc::ErrorInfo>(status);
    EXPECT_EQ(info.domain(), "peerage") << code;
    EXPECT_THAT(info.reason(), ::testing::MatchesRegex("[A-Z]+(_[A-Z]+)*")) << code;
  }
}

TEST(GrpcStatusTest, NamesTheReasonThatAStatusHasOfItsOwn) {
  absl::Status slow = absl::ResourceExhaustedError("the reader is too slow");
  SetErrorReason(slow, kSlowReader);

  const google::rpc::Status status = ToRpcStatus(slow);

  EXPECT_EQ(Detail<google::rpc::ErrorInfo>(status).reason(), "SLOW_READER");
  EXPECT_EQ(status.details_size(), 1) << "nothing but the reason: no RetryInfo";
}

TEST(GrpcStatusTest, SaysTheDelayThatCameWithARefusal) {
  absl::Status status = absl::ResourceExhaustedError("full");
  SetRetryDelay(status, absl::Milliseconds(12'345));

  const google::rpc::Status answer = ToRpcStatus(status);

  EXPECT_EQ(Detail<google::rpc::RetryInfo>(answer).retry_delay().seconds(), 12);
  EXPECT_EQ(Detail<google::rpc::RetryInfo>(answer).retry_delay().nanos(), 345'000'000);
  EXPECT_EQ(answer.details_size(), 2) << "with the reason, and nothing else";
}

// A reader that was too slow came at no bad time: much was computed for it.
TEST(GrpcStatusTest, AsksToRetryOnlyWhereThatHelps) {
  EXPECT_FALSE(Detail<google::rpc::RetryInfo>(ToRpcStatus(absl::ResourceExhaustedError("")))
                   .has_retry_delay());
  EXPECT_GT(Detail<google::rpc::RetryInfo>(ToRpcStatus(absl::UnavailableError("")))
                .retry_delay()
                .seconds(),
            0);
  EXPECT_FALSE(
      Detail<google::rpc::RetryInfo>(ToRpcStatus(absl::InternalError(""))).has_retry_delay());
}

TEST(GrpcStatusTest, CutsLongMessagesBetweenCodePoints) {
  std::string message(1023, 'x');
  message += "é and more";
  EXPECT_EQ(ToRpcStatus(absl::InternalError(message)).message(), std::string(1023, 'x'));
}

}  // namespace
}  // namespace peerage
