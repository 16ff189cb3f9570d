#include "server/engine/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/engine/task.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

GenerateRequest Generate(size_t prompt, uint32_t max_tokens, uint32_t candidates) {
  return {.prompt = std::vector<TokenId>(prompt, 1),
          .candidates = candidates,
          .stopping = {.max_tokens = max_tokens}};
}

ScoreRequest Score(size_t context, const std::vector<size_t>& continuations) {
  ScoreRequest request{.context = std::vector<TokenId>(context, 1)};
  for (size_t size : continuations) request.continuations.emplace_back(size, 1);
  return request;
}

template <typename Request>
RequestNeeds Needs(const Request& request, int32_t block_tokens = 4) {
  return NeedsOf(WorkOf(request), block_tokens);
}

TEST(NeedsTest, CountFullPromptBlocksOnceForAllCandidates) {
  // Blocks of 4; a prompt of 9 has 2 full blocks before its last token.
  EXPECT_EQ(Needs(Generate(9, 3, 1)).blocks, 3);
  EXPECT_EQ(Needs(Generate(9, 3, 5)).blocks, 2 + 5 * 1);
  EXPECT_EQ(Needs(Generate(9, 4, 5)).blocks, 2 + 5 * 2);
  // A last token that fills its block is each candidate's own, and with it the block.
  EXPECT_EQ(Needs(Generate(8, 1, 3)).blocks, 1 + 3 * 2);
  EXPECT_EQ(Needs(Generate(1, 1, 2)).blocks, 2);
  EXPECT_EQ(Needs(Generate(9, 3, 5)).sequences, 5);
}

TEST(NeedsTest, CountTheContextAndOneContinuationForScore) {
  EXPECT_EQ(Needs(Score(9, {1, 1})).blocks, 3);
  EXPECT_EQ(Needs(Score(9, {1, 1})).sequences, 1);
  // Positions 9..12 of the longest, whose last token is scored, not computed; the context's third
  // block is copied for one of the two, and taken over by the other.
  EXPECT_EQ(Needs(Score(9, {1, 5, 2})).blocks, 3 + 2);
  EXPECT_EQ(Needs(Score(9, {1, 5, 2})).sequences, 1);
  EXPECT_EQ(Needs(Score(9, {1, 5})).blocks, 2 + 2);
  EXPECT_EQ(Needs(Score(8, {5, 5})).blocks, 2 + 1);
  EXPECT_EQ(Needs(Score(0, {5})).blocks, 1);
  EXPECT_EQ(Needs(Score(0, {1, 1})).blocks, 0);
}

TEST(AdmissionTest, RefusesWhatNeverFitsWithTheArithmetic) {
  const EngineCapacity capacity{.model = {.block_tokens = 4, .num_blocks = 10, .num_slots = 4},
                                .context_length = 40,
                                .max_sequences = 3};
  const auto message = [&capacity](const auto& request) {
    absl::Status status = CheckFits(request, capacity);
    if (status.ok()) status = CheckFits(Needs(request), capacity);
    EXPECT_TRUE(status.ok() || absl::IsOutOfRange(status)) << status;
    return std::string(status.message());
  };

  EXPECT_EQ(message(Generate(30, 10, 1)), "");
  EXPECT_THAT(message(Generate(30, 11, 1)),
              HasSubstr("prompt of 30 tokens + max_tokens of 11 = 41 is more than the context "
                        "length of 40"));
  EXPECT_THAT(message(Generate(1, 4'000'000'000u, 1)), HasSubstr("= 4000000001 is more"));
  EXPECT_THAT(message(Generate(1, ~0u, ~0u)), HasSubstr("= 4294967296 is more"));
  EXPECT_THAT(message(Generate(1, 1, ~0u)), HasSubstr("4294967295 candidates"));
  EXPECT_THAT(message(Generate(1, 1, 4)), HasSubstr("4 candidates"));
  EXPECT_THAT(message(Generate(17, 23, 2)), HasSubstr("needs 16 KV blocks of 4 tokens"));
  EXPECT_EQ(message(Score(28, {12, 12})), "");
  EXPECT_EQ(message(Score(30, {10})), "");
  EXPECT_THAT(message(Score(30, {10, 10})), HasSubstr("needs 11 KV blocks"));  // one is a copy
  EXPECT_THAT(message(Score(30, {3, 11})), HasSubstr("longest continuation of 11 = 41"));
}

TEST(AdmissionTest, RefusesWhatIsLate) {
  const absl::Time now = absl::UnixEpoch(), soon = now + absl::Seconds(1);
  EXPECT_EQ(CheckMayStart({.queue_deadline = soon, .deadline = soon}, now), absl::OkStatus());
  EXPECT_THAT(std::string(CheckMayStart({.queue_deadline = soon}, soon).message()),
              HasSubstr("queue timeout"));
  EXPECT_THAT(std::string(CheckMayStart({.deadline = soon}, soon).message()),
              HasSubstr("deadline passed before"));
}

}  // namespace
}  // namespace peerage
