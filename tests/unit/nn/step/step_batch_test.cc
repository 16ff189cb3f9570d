#include "model/nn/step/step_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace peerage::nn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// "id@position in block" of every token.
std::vector<std::string> Layout(const StepBatch& batch) {
  std::vector<std::string> texts;
  for (const StepBatch::Token& token : batch.tokens()) {
    texts.push_back(absl::StrCat(token.id, "@", token.position, " in ", token.block));
  }
  return texts;
}

TEST(StepBatchTest, LaysTokensFlatChunkAfterChunk) {
  const std::vector<TokenId> first = {7, 8, 9}, second = {5};
  const std::vector<BlockId> first_blocks = {3}, second_blocks = {6, 1};
  const std::vector<Chunk> chunks = {
      {.slot = 2, .tokens = first, .first_position = 0, .blocks = first_blocks},
      {.slot = 0, .tokens = second, .first_position = 4, .blocks = second_blocks}};
  StepBatch batch(4);

  batch.Assign({.chunks = chunks});

  EXPECT_THAT(Layout(batch), ElementsAre("7@0 in 3", "8@1 in 3", "9@2 in 3", "5@4 in 1"));
  EXPECT_EQ(batch.first_token(0), 0);
  EXPECT_EQ(batch.first_token(1), 3);
  EXPECT_EQ(batch.size(), 4);
  EXPECT_EQ(batch.chunks().data(), chunks.data());
}

// The last position of a block, the first of the next, and a block that is left over.
TEST(StepBatchTest, FindsTheBlockOfEachPosition) {
  const std::vector<TokenId> tokens = {10, 11, 12, 13, 14, 15};
  const std::vector<BlockId> blocks = {9, 2, 7, 4};
  const Chunk chunk{.tokens = tokens, .first_position = 3, .blocks = blocks};
  StepBatch batch(4);

  batch.Assign({.chunks = {&chunk, 1}});

  EXPECT_THAT(Layout(batch), ElementsAre("10@3 in 9", "11@4 in 2", "12@5 in 2", "13@6 in 2",
                                         "14@7 in 2", "15@8 in 7"));
}

TEST(StepBatchTest, ChunksMayBeEmpty) {
  const std::vector<TokenId> tokens = {1, 2};
  const std::vector<BlockId> blocks = {0};
  const std::vector<Chunk> chunks = {{.blocks = blocks}, {.tokens = tokens, .blocks = blocks}, {}};
  StepBatch batch(32);

  batch.Assign({.chunks = chunks});

  EXPECT_EQ(batch.size(), 2);
  EXPECT_EQ(batch.first_token(0), 0);
  EXPECT_EQ(batch.first_token(1), 0);
  EXPECT_EQ(batch.first_token(2), 2);
}

TEST(StepBatchTest, IsReusedWithoutLeftovers) {
  const std::vector<TokenId> many(97, 3), one = {8};
  const std::vector<BlockId> blocks = {1, 5, 2, 6};
  const std::vector<Chunk> large = {{.tokens = many, .blocks = blocks},
                                    {.tokens = many, .blocks = blocks}};
  const std::vector<Chunk> small = {{.tokens = one, .first_position = 33, .blocks = blocks}};
  const BlockCopy copy{1, 2};
  StepBatch batch(32);
  batch.Assign({.copies = {&copy, 1}, .chunks = large});
  ASSERT_EQ(batch.size(), 194);
  ASSERT_EQ(batch.copies().size(), 1u);
  const StepBatch::Token* place = batch.tokens().data();

  batch.Assign({.chunks = small});

  EXPECT_THAT(Layout(batch), ElementsAre("8@33 in 5"));
  EXPECT_THAT(batch.copies(), IsEmpty());
  EXPECT_EQ(batch.tokens().data(), place);  // nothing was allocated

  batch.Assign({});
  EXPECT_EQ(batch.size(), 0);
  EXPECT_TRUE(batch.chunks().empty());
}

}  // namespace
}  // namespace peerage::nn
