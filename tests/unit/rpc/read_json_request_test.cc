#include "server/rpc/request/read_json_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/rpc/request/read_request.h"
#include "tests/support/fake_tokenizer.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ReadJsonRequestTest : public ::testing::Test {
 protected:
  ReadJsonRequestTest() {
    model_.name = "fake";
    model_.description.vocabulary_size = 32;
    model_.description.context_length = 256;
    model_.tokenizer = &tokenizer_;
    call_.origin.request_id = "id";
  }

  std::string ErrorOf(const std::string& json) {
    const absl::Status status = ReadJsonRequest(json, model_, call_).status();
    return std::string(status.message());
  }

  FakeTokenizer tokenizer_;
  ServedModel model_;
  Call call_;
};

TEST_F(ReadJsonRequestTest, ReadsTheFieldsOfTheProto) {
  const absl::StatusOr<GenerateRequest> request = ReadJsonRequest(
      R"({"prompt": {"text": "ab"}, "sampling": {"temperature": 0.5, "seed": "18446744073709551615"},
          "stopping": {"max_tokens": 7}})",
      model_, call_);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->origin.request_id, "id");
  EXPECT_THAT(request->prompt, ElementsAre(FakeTokenizer::Letter('a'), FakeTokenizer::Letter('b')));
  EXPECT_EQ(request->sampling.temperature, 0.5f);
  EXPECT_EQ(request->sampling.seed, UINT64_MAX);
  EXPECT_EQ(request->stopping.max_tokens, 7u);
}

TEST_F(ReadJsonRequestTest, RefusesAsTheRpcDoes) {
  v1::GenerateRequest same;
  same.mutable_prompt()->set_text("a");
  same.mutable_sampling()->set_temperature(11);
  same.mutable_stopping()->set_max_tokens(0);
  const std::string json =
      R"({"prompt": {"text": "a"}, "sampling": {"temperature": 11}, "stopping": {"max_tokens": 0}})";
  const absl::Status status = ReadJsonRequest(json, model_, call_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status, ReadRequest(same, model_, call_).status());

  const absl::Status long_one =
      ReadJsonRequest(R"({"prompt": {"text": "a"}, "stopping": {"max_tokens": 256}})", model_,
                      call_)
          .status();
  EXPECT_EQ(long_one.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("prompt is required"));
}

TEST_F(ReadJsonRequestTest, NamesTheFieldWhoseValueDoesNotFit) {
  EXPECT_EQ(ErrorOf(R"({"stopping": {"max_tokens": -1}})"),
            "stopping.max_tokens has a value that does not fit it");
  EXPECT_EQ(ErrorOf(R"({"sampling": {"seed": "many"}})"),
            "sampling.seed has a value that does not fit it");
}

// Whoever reads errors, or logs them, must not read prompts.
TEST_F(ReadJsonRequestTest, NeverQuotesWhatItRefuses) {
  for (const std::string json : {R"({"prompt": {"text": "secret"})", R"({"prompt": "secret"})",
                                 R"("secret")", R"(secret)", R"({"secret": 1})",
                                 R"({"prompt": {"text": "secret)"
                                 "\xff"
                                 R"("}})",
                                 R"({"stopping": {"max_tokens": "secret"}})",
                                 R"({"sampling": {"logit_bias": {"secret": 1}}})", ""}) {
    const absl::Status status = ReadJsonRequest(json, model_, call_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << json;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret"))) << json;
    EXPECT_FALSE(status.message().empty());
  }
}

// Nesting is bounded by the parser, not by the stack.
TEST_F(ReadJsonRequestTest, RefusesDeepNesting) {
  const std::string deep = std::string(500'000, '[') + std::string(500'000, ']');
  EXPECT_EQ(ErrorOf(deep), "the body is no GenerateRequest in JSON");
}

}  // namespace
}  // namespace peerage
