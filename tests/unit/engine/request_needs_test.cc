#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/generation.h"
#include "server/engine/running_request.h"
#include "server/engine/scoring.h"
#include "tests/support/recording_sink.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

GenerateRequest GenerateOf(size_t prompt, uint32_t max_tokens, uint32_t candidates) {
  return {.prompt = std::vector<TokenId>(prompt, 1),
          .candidates = candidates,
          .stopping = {.max_tokens = max_tokens}};
}

ScoreRequest Score(size_t context, const std::vector<size_t>& continuations) {
  ScoreRequest request{.context = std::vector<TokenId>(context, 1)};
  for (size_t size : continuations) request.continuations.emplace_back(size, 1);
  return request;
}

std::unique_ptr<RunningRequest> Make(GenerateRequest request, int32_t block_tokens) {
  return std::make_unique<Generation>(1, std::move(request), std::make_shared<RecordingSink>(),
                                      ModelFacts{.block_tokens = block_tokens});
}

std::unique_ptr<RunningRequest> Make(ScoreRequest request, int32_t block_tokens) {
  return std::make_unique<Scoring>(1, std::move(request), std::make_shared<RecordingSink>(),
                                   ModelFacts{.block_tokens = block_tokens});
}

template <typename Request>
RequestNeeds NeedsOf(const Request& request, int32_t block_tokens) {
  return Make(request, block_tokens)->needs();
}

TEST(RequestNeedsTest, CountsFullPromptBlocksOnceForAllCandidates) {
  // Blocks of 4; a prompt of 9 has 2 full blocks before its last token.
  EXPECT_EQ(NeedsOf(GenerateOf(9, 3, 1), 4).blocks, 3);
  EXPECT_EQ(NeedsOf(GenerateOf(9, 3, 5), 4).blocks, 2 + 5 * 1);
  EXPECT_EQ(NeedsOf(GenerateOf(9, 4, 5), 4).blocks, 2 + 5 * 2);
  // A last token that fills its block is each candidate's own, and with it the block.
  EXPECT_EQ(NeedsOf(GenerateOf(8, 1, 3), 4).blocks, 1 + 3 * 2);
  EXPECT_EQ(NeedsOf(GenerateOf(1, 1, 2), 4).blocks, 2);
  EXPECT_EQ(NeedsOf(GenerateOf(9, 3, 5), 4).slots, 5);
  EXPECT_EQ(NeedsOf(GenerateOf(9, 3, 5), 4).sequences, 5);
}

TEST(RequestNeedsTest, CountsTheContextAndOneContinuationForScore) {
  EXPECT_EQ(NeedsOf(Score(9, {1, 1}), 4).blocks, 3);
  EXPECT_EQ(NeedsOf(Score(9, {1, 1}), 4).slots, 1);
  // Positions 9..12 of the longest; its last token is scored, not computed.
  EXPECT_EQ(NeedsOf(Score(9, {1, 5, 2}), 4).blocks, 3 + 2);
  EXPECT_EQ(NeedsOf(Score(9, {1, 5, 2}), 4).slots, 2);
  EXPECT_EQ(NeedsOf(Score(0, {5}), 4).blocks, 1);
  EXPECT_EQ(NeedsOf(Score(0, {5}), 4).slots, 1);
  EXPECT_EQ(NeedsOf(Score(0, {1, 1}), 4).slots, 0);
}

TEST(RequestNeedsTest, RefusesWhatNeverFitsWithTheArithmetic) {
  const EngineCapacity capacity{.model = {.block_tokens = 4, .num_blocks = 10, .num_slots = 4},
                                .context_length = 40,
                                .max_sequences = 3};
  const auto message = [&capacity](const auto& request) {
    const absl::Status status = CheckFits(*Make(request, 4), capacity);
    EXPECT_TRUE(status.ok() || absl::IsOutOfRange(status)) << status;
    return std::string(status.message());
  };

  EXPECT_EQ(message(GenerateOf(30, 10, 1)), "");
  EXPECT_THAT(message(GenerateOf(30, 11, 1)),
              HasSubstr("prompt of 30 tokens + max_tokens of 11 = 41 is more than the context "
                        "length of 40"));
  EXPECT_THAT(message(GenerateOf(1, 4'000'000'000u, 1)), HasSubstr("= 4000000001 is more"));
  EXPECT_THAT(message(GenerateOf(1, ~0u, ~0u)), HasSubstr("= 4294967296 is more"));
  EXPECT_THAT(message(GenerateOf(1, 1, 4)), HasSubstr("4 candidates"));
  EXPECT_THAT(message(GenerateOf(17, 23, 2)), HasSubstr("needs 16 KV blocks of 4 tokens"));
  EXPECT_EQ(message(Score(28, {12})), "");
  EXPECT_THAT(message(Score(30, {10})), HasSubstr("needs 11 KV blocks"));  // one is a copy
  EXPECT_THAT(message(Score(30, {3, 11})), HasSubstr("longest continuation of 11 = 41"));
}

}  // namespace
}  // namespace peerage
