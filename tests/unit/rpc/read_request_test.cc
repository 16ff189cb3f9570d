#include "server/rpc/request/read_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "server/rpc/request/answer_size.h"
#include "server/rpc/request/limits.h"
#include "tests/support/fake_tokenizer.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr TokenId kA = FakeTokenizer::Letter('a');
constexpr TokenId kBos = FakeTokenizer::kBos;
constexpr TokenId kEos = FakeTokenizer::kEos;

class ReadRequestTest : public ::testing::Test {
 protected:
  ReadRequestTest() {
    model_.name = "fake";
    model_.description.vocabulary_size = 32;
    model_.description.context_length = 256;
    model_.tokenizer = &tokenizer_;
    call_.origin.request_id = "id";
    call_.arrival = absl::FromUnixSeconds(1000);
    call_.deadline = absl::FromUnixSeconds(1060);
    request_.mutable_prompt()->set_text("a");
  }

  GenerateRequest ConvertOrDie() {
    absl::StatusOr<GenerateRequest> result = Convert(request_, model_, call_);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  FakeTokenizer tokenizer_;
  ServedModel model_;
  Call call_;
  v1::GenerateRequest request_;
};

TEST_F(ReadRequestTest, KeepsTheTenantAndWhereTheCallComesFrom) {
  request_.mutable_scheduling()->set_tenant("a");
  call_.host = "ipv4:10.0.0.1";
  const SchedulingParams scheduling = ConvertOrDie().scheduling;
  EXPECT_EQ(scheduling.tenant, "a");
  EXPECT_EQ(scheduling.host, "ipv4:10.0.0.1");
}

TEST_F(ReadRequestTest, PutsBosWhereItIsAskedFor) {
  EXPECT_THAT(ConvertOrDie().prompt, ElementsAre(kA));
  request_.mutable_prompt()->set_add_bos(true);
  EXPECT_THAT(ConvertOrDie().prompt, ElementsAre(kBos, kA));
  request_.mutable_prompt()->mutable_token_ids()->add_ids(kA);
  EXPECT_THAT(ConvertOrDie().prompt, ElementsAre(kBos, kA));
  request_.mutable_prompt()->clear_add_bos();
  EXPECT_THAT(ConvertOrDie().prompt, ElementsAre(kA));
}

// Its rest would be refused: it has no token.
TEST_F(ReadRequestTest, ATextIsReadNoFurtherThanTheContextGoes) {
  const std::string text = std::string(257, 'a') + "#";
  request_.mutable_prompt()->set_text(text);
  absl::Status status = Convert(request_, model_, call_).status();
  EXPECT_EQ(status,
            absl::OutOfRangeError("prompt has more than 256 tokens, the context of the model 256"));

  auto* messages = request_.mutable_prompt()->mutable_chat()->mutable_messages();
  for (int i = 0; i < 257; ++i) messages->Add()->set_role("user");
  messages->Add()->set_content("#");
  EXPECT_TRUE(absl::IsOutOfRange(Convert(request_, model_, call_).status()));

  v1::ScoreRequest score;
  score.add_continuations()->set_text(text);
  status = Convert(score, model_, call_).status();
  EXPECT_EQ(status, absl::OutOfRangeError(
                        "continuations[0] has more than 256 tokens, the context of the model 256"));
  score.mutable_context()->set_text(text);
  status = Convert(score, model_, call_).status();
  EXPECT_EQ(status, absl::OutOfRangeError(
                        "context has more than 256 tokens, the context of the model 256"));
}

TEST_F(ReadRequestTest, MasksEveryEndingBeforeMinTokens) {
  request_.mutable_stopping()->add_stop_token_ids(5);
  EXPECT_THAT(ConvertOrDie().sampling.masked_ids, IsEmpty());

  request_.mutable_stopping()->set_min_tokens(3);
  const GenerateRequest masked = ConvertOrDie();
  EXPECT_EQ(masked.sampling.min_tokens, 3);
  EXPECT_EQ(masked.stopping.min_tokens, 3);
  EXPECT_THAT(masked.sampling.masked_ids, ElementsAre(kEos, 5));

  request_.mutable_stopping()->set_ignore_eos(true);
  const GenerateRequest ordinary = ConvertOrDie();
  EXPECT_THAT(ordinary.stopping.end_ids, IsEmpty());
  EXPECT_THAT(ordinary.sampling.masked_ids, ElementsAre(5)) << "eos is an ordinary token";
}

TEST_F(ReadRequestTest, CarriesDeadlinesByTheEnginesClock) {
  EXPECT_EQ(ConvertOrDie().scheduling.queue_deadline, absl::InfiniteFuture());

  request_.mutable_scheduling()->mutable_queue_timeout()->set_seconds(2);
  request_.mutable_scheduling()->mutable_queue_timeout()->set_nanos(500'000'000);
  const SchedulingParams scheduling = ConvertOrDie().scheduling;
  EXPECT_EQ(scheduling.arrival, call_.arrival);
  EXPECT_EQ(scheduling.deadline, call_.deadline);
  EXPECT_EQ(scheduling.queue_deadline, call_.arrival + absl::Milliseconds(2500));
}

TEST_F(ReadRequestTest, GoesOnWithWhatWasGenerated) {
  const TokenId b = FakeTokenizer::Letter('b');
  auto& generated = *request_.mutable_generated_token_ids();
  const auto read = [&](std::vector<uint32_t> ids) {
    generated.mutable_ids()->Assign(ids.begin(), ids.end());
    return ReadRequest(request_, model_, call_);
  };
  EXPECT_THAT(
      std::string(read({kA}).status().message()),
      ::testing::HasSubstr("sampling.seed must be the seed that the broken stream reported"));
  request_.mutable_sampling()->set_seed(7);
  request_.mutable_stopping()->set_max_tokens(4);
  request_.mutable_stopping()->add_stop("ab");

  EXPECT_THAT(read({kA, kA})->generated, ElementsAre(kA, kA));
  EXPECT_FALSE(read({kA, kA})->is_over);
  EXPECT_FALSE(read({})->is_over);
  EXPECT_TRUE(read({kA, b})->is_over);
  EXPECT_TRUE(read({b, b, b, b})->is_over) << "as many as may be generated";
  EXPECT_TRUE(read({kEos})->is_over);
  EXPECT_THAT(std::string(read({kA, b, kA}).status().message()),
              ::testing::HasSubstr("generated_token_ids.ids must end with the token that ends the "
                                   "text, here [1] of 3"));
  EXPECT_THAT(std::string(read({32}).status().message()),
              ::testing::HasSubstr("generated_token_ids.ids[0] must be below the vocabulary size"));
  request_.mutable_output()->set_expert_trace(v1::EXPERT_TRACE_LEVEL_SUMMARY);
  model_.trace_limits.level = ExpertTraceLevel::kFull;
  model_.trace_limits.max_bytes = 1 << 20;
  EXPECT_TRUE(read({kA}).ok());
  EXPECT_THAT(std::string(read({kEos}).status().message()),
              ::testing::HasSubstr("output.expert_trace must be none"));
  request_.clear_output();
  request_.mutable_sampling()->set_candidates(2);
  EXPECT_THAT(std::string(read({kA}).status().message()),
              ::testing::HasSubstr("sampling.candidates must be 1"));
}

TEST_F(ReadRequestTest, SortsTheLogitBias) {
  auto& bias = *request_.mutable_sampling()->mutable_logit_bias();
  bias[9] = -1;
  bias[3] = 2;
  bias[31] = 0.5;
  EXPECT_THAT(ConvertOrDie().sampling.logit_bias,
              ElementsAre(Pair(3, 2.0f), Pair(9, -1.0f), Pair(31, 0.5f)));
}

TEST_F(ReadRequestTest, AsksForLogProbabilitiesOnlyWhenTheyAreWanted) {
  EXPECT_EQ(ConvertOrDie().alternatives, -1);
  request_.mutable_output()->set_logprobs(0);
  EXPECT_EQ(ConvertOrDie().alternatives, 0);
}

TEST_F(ReadRequestTest, KeepsScoresWithinWhatAnAnswerHolds) {
  EXPECT_TRUE(CheckAnswerSize(~uint64_t{0}, -1).ok()) << "nothing is reported";
  EXPECT_TRUE(CheckAnswerSize(kMaxResponseBytes / 20, 0).ok());
  EXPECT_TRUE(absl::IsOutOfRange(CheckAnswerSize(kMaxResponseBytes / 20 + 1, 0)));
  EXPECT_TRUE(absl::IsOutOfRange(CheckAnswerSize(kMaxResponseBytes / 100, 20)));
  EXPECT_TRUE(CheckAnswerSize(1, 0, kMaxResponseBytes - 20).ok());
  EXPECT_TRUE(absl::IsOutOfRange(CheckAnswerSize(1, 0, kMaxResponseBytes - 19)));
  EXPECT_TRUE(absl::IsOutOfRange(CheckAnswerSize(1, 0, ~uint64_t{0})));

  model_.description.context_length = 1000;
  v1::ScoreRequest score;
  for (int i = 0; i < 1000; ++i) {
    score.add_continuations()->set_text(std::string(900, 'a'));
  }
  EXPECT_TRUE(absl::IsOutOfRange(ReadRequest(score, model_, call_).status()));
}

TEST(AnswerSizeTest, OfATextIsTogetherWithWhatElseIsAskedFor) {
  constexpr uint32_t kLimit = 4 << 20;
  const ServedModel model{.token_text_bytes = 100};  // and five of the id
  GenerateRequest request;
  const auto fits = [&](uint32_t max_tokens) {
    request.stopping.max_tokens = max_tokens;
    const absl::Status status = CheckAnswer(request, model);
    EXPECT_TRUE(status.ok() || absl::IsOutOfRange(status)) << status;
    return status.ok();
  };
  EXPECT_TRUE(fits(kLimit / 105));
  EXPECT_FALSE(fits(kLimit / 105 + 1));
  request.alternatives = 2;  // 38 bytes
  EXPECT_TRUE(fits(kLimit / 143));
  EXPECT_FALSE(fits(kLimit / 143 + 1));
  request.prompt.assign(1000, 1);
  request.prompt_logprobs = true;
  EXPECT_TRUE(fits((kLimit - 38'000) / 143));
  EXPECT_FALSE(fits((kLimit - 38'000) / 143 + 1));
  request.candidates = 2;
  EXPECT_FALSE(fits((kLimit - 38'000) / 143));
}

TEST(AnswerSizeTest, KnowsTheLongestTextOfAToken) {
  EXPECT_EQ(MostTextBytes(FakeTokenizer()), 6) << "<user>";
}

}  // namespace
}  // namespace peerage
