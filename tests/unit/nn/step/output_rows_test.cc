#include "model/nn/step/output_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace peerage::nn {
namespace {

// Two chunks of 3 and 2 tokens, and rows that ask for what a test wants.
class OutputRowsTest : public testing::Test {
 protected:
  OutputRowsTest() {
    chunks_ = {{.slot = 4, .tokens = {tokens_.data(), 3}, .blocks = blocks_},
               {.slot = 1, .tokens = {tokens_.data(), 2}, .blocks = blocks_}};
  }

  void Assign(OutputRows& rows) {
    const StepInput input{.chunks = chunks_, .rows = wanted_};
    batch_.Assign(input);
    rows.Assign(input, batch_);
  }

  const std::vector<TokenId> tokens_ = {1, 2, 3};
  const std::vector<BlockId> blocks_ = {0};
  const std::vector<TokenId> targets_ = {11, 12, 13, 14, 15};
  std::vector<Chunk> chunks_;
  std::vector<OutputRow> wanted_;
  StepBatch batch_{32};
};

TEST_F(OutputRowsTest, KnowWhoseTokenTheyAreOf) {
  wanted_ = {
      {.chunk = 1, .row = 0}, {.chunk = 0, .row = 2}, {.chunk = 1, .row = 1, .sample = true}};
  OutputRows rows(97);
  Assign(rows);

  ASSERT_EQ(rows.size(), 3);
  EXPECT_EQ(rows.token(0), 3);
  EXPECT_EQ(rows.token(1), 2);
  EXPECT_EQ(rows.token(2), 4);
  EXPECT_EQ(rows.slot(0), 1);
  EXPECT_EQ(rows.slot(1), 4);
  EXPECT_TRUE(rows.wanted(2).sample);
}

// Each row writes what is its own, whatever is asked for beside it.
TEST_F(OutputRowsTest, PlacesOfManyTargetsAndAlternativesAreApart) {
  wanted_ = {{.chunk = 0, .row = 0, .targets = targets_, .alternatives = 3},
             {.chunk = 0, .row = 1, .sample = true, .alternatives = -1},
             {.chunk = 0, .row = 2, .targets = {targets_.data(), 1}, .alternatives = 0},
             {.chunk = 1, .row = 0},
             {.chunk = 1, .row = 1, .sample = true, .alternatives = 2}};
  OutputRows rows(97);
  Assign(rows);
  for (int row = 0; row < rows.size(); ++row) {
    for (TokenScore& score : rows.scores(row)) score.token = 100 + row;
    for (TokenAlternative& alternative : rows.alternatives(row)) alternative.token = 200 + row;
  }

  const StepOutput output = rows.Output();

  const size_t scores[] = {5, 1, 1, 0, 1}, alternatives[] = {3, 0, 0, 0, 2};
  ASSERT_EQ(output.rows.size(), 5u);
  for (int row = 0; row < 5; ++row) {
    ASSERT_EQ(output.rows[row].tokens.size(), scores[row]) << row;
    ASSERT_EQ(output.rows[row].alternatives.size(), alternatives[row]) << row;
    for (const TokenScore& score : output.rows[row].tokens) EXPECT_EQ(score.token, 100u + row);
    for (const TokenAlternative& alternative : output.rows[row].alternatives) {
      EXPECT_EQ(alternative.token, 200u + row);
    }
  }
}

TEST_F(OutputRowsTest, AlternativesAreAtMostTwentyAndAtMostTheVocabulary) {
  wanted_ = {
      {.alternatives = 20}, {.alternatives = 21}, {.alternatives = 1000}, {.alternatives = -7}};
  OutputRows many(97), few(7);
  Assign(many);
  EXPECT_EQ(many.alternatives(0).size(), 20u);
  EXPECT_EQ(many.alternatives(1).size(), 20u);
  EXPECT_EQ(many.alternatives(2).size(), 20u);
  EXPECT_EQ(many.alternatives(3).size(), 0u);
  Assign(few);
  EXPECT_EQ(few.alternatives(0).size(), 7u);
  EXPECT_EQ(few.alternatives(2).size(), 7u);
}

TEST_F(OutputRowsTest, AFailedRowFailsItsChunkAlone) {
  wanted_ = {{.chunk = 0, .row = 0}, {.chunk = 1, .row = 0}, {.chunk = 1, .row = 1}};
  OutputRows rows(97);
  Assign(rows);
  rows.Fail(1);
  const StepOutput output = rows.Output();

  ASSERT_EQ(output.chunk_status.size(), 2u);
  EXPECT_TRUE(output.chunk_status[0].ok());
  EXPECT_EQ(output.chunk_status[1].code(), absl::StatusCode::kInternal);
  EXPECT_EQ(output.rows.size(), 3u);
}

TEST_F(OutputRowsTest, AreReusedWithoutLeftovers) {
  wanted_ = {{.chunk = 0, .targets = targets_, .alternatives = 9}, {.chunk = 1, .sample = true}};
  OutputRows rows(97);
  Assign(rows);
  rows.Fail(0);
  rows.Fail(1);
  ASSERT_FALSE(rows.Output().chunk_status[0].ok());

  wanted_ = {{.chunk = 1, .row = 1, .targets = {targets_.data(), 2}}};
  Assign(rows);
  const StepOutput output = rows.Output();

  ASSERT_EQ(output.rows.size(), 1u);
  EXPECT_EQ(output.rows[0].tokens.size(), 2u);
  EXPECT_TRUE(output.rows[0].alternatives.empty());
  EXPECT_EQ(rows.token(0), 4);
  for (const absl::Status& status : output.chunk_status) EXPECT_TRUE(status.ok()) << status;

  // A step may ask for nothing; every chunk still has a status.
  wanted_ = {};
  Assign(rows);
  EXPECT_TRUE(rows.Output().rows.empty());
  EXPECT_EQ(rows.Output().chunk_status.size(), 2u);
}

}  // namespace
}  // namespace peerage::nn
