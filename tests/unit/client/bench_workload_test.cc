#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "client/bench/workload.h"

namespace peerage::client {
namespace {

RandomTokens Tokens() {
  return {.seed = 11,
          .vocabulary_size = 100,
          .prefix_length = 5,
          .input = RangeAround(10, 0.25, 0),
          .output = RangeAround(4, 0.5, 1),
          .continuations = 3};
}

RandomWorkload Make(const RandomTokens& tokens) {
  v1::GenerateRequest generate;
  generate.set_model("m");
  generate.mutable_stopping()->set_ignore_eos(true);
  v1::ScoreRequest score;
  score.set_model("m");
  return {tokens, generate, score};
}

std::vector<uint32_t> Ids(const v1::TokenIds& ids) { return {ids.ids().begin(), ids.ids().end()}; }

TEST(RandomWorkloadTest, RoundsRangesOutwards) {
  EXPECT_EQ(RangeAround(10, 0.25, 0).least, 7);
  EXPECT_EQ(RangeAround(10, 0.25, 0).most, 13);
  EXPECT_EQ(RangeAround(1, 0.9, 1).least, 1);
  EXPECT_EQ(RangeAround(128, 0, 1).least, 128);
  EXPECT_EQ(RangeAround(128, 0, 1).most, 128);
}

TEST(RandomWorkloadTest, DrawsLengthsAndTokensOfTheirRanges) {
  const RandomWorkload workload = Make(Tokens());
  std::set<int> inputs;
  std::set<uint32_t> outputs;
  std::set<uint32_t> tokens;
  for (size_t call = 0; call < 400; ++call) {
    const v1::GenerateRequest request = workload.Generate(call);
    EXPECT_EQ(request.model(), "m");
    EXPECT_TRUE(request.stopping().ignore_eos());
    const std::vector<uint32_t> ids = Ids(request.prompt().token_ids());
    inputs.insert(static_cast<int>(ids.size()) - 5);
    outputs.insert(request.stopping().max_tokens());
    tokens.insert(ids.begin(), ids.end());
  }
  EXPECT_THAT(inputs, testing::ElementsAre(7, 8, 9, 10, 11, 12, 13));
  EXPECT_THAT(outputs, testing::ElementsAre(2, 3, 4, 5, 6));
  EXPECT_EQ(tokens.size(), 100);
  EXPECT_EQ(*tokens.rbegin(), 99);
}

TEST(RandomWorkloadTest, AsksTheSameOfTheSameNumber) {
  const RandomWorkload one = Make(Tokens());
  const RandomWorkload two = Make(Tokens());
  RandomTokens other = Tokens();
  other.seed = 12;
  EXPECT_EQ(one.Generate(7).SerializeAsString(), two.Generate(7).SerializeAsString());
  EXPECT_NE(one.Generate(7).SerializeAsString(), one.Generate(8).SerializeAsString());
  EXPECT_NE(one.Generate(7).SerializeAsString(), Make(other).Generate(7).SerializeAsString());
}

TEST(RandomWorkloadTest, SharesThePrefixAndNothingElse) {
  const RandomWorkload workload = Make(Tokens());
  const auto one = Ids(workload.Generate(0).prompt().token_ids());
  const auto two = Ids(workload.Score(1).context().token_ids());
  EXPECT_TRUE(std::equal(one.begin(), one.begin() + 5, two.begin()));
  EXPECT_FALSE(std::equal(one.begin() + 5, one.begin() + 12, two.begin() + 5));
}

TEST(RandomWorkloadTest, ScoresContinuationsOfTheirOwnLengths) {
  const RandomWorkload workload = Make(Tokens());
  std::set<int> lengths;
  for (size_t call = 0; call < 100; ++call) {
    const v1::ScoreRequest request = workload.Score(call);
    EXPECT_EQ(request.model(), "m");
    ASSERT_EQ(request.continuations_size(), 3);
    for (const v1::Continuation& continuation : request.continuations()) {
      lengths.insert(continuation.token_ids().ids_size());
    }
  }
  EXPECT_THAT(lengths, testing::ElementsAre(2, 3, 4, 5, 6));
}

}  // namespace
}  // namespace peerage::client
