// The fake must notice what it is there to notice.
#include "tests/support/fake_model.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <vector>

namespace peerage {
namespace {

class FakeModelTest : public ::testing::Test {
 protected:
  FakeModelTest() { model_.Open(0, {.prompt = prompt_}); }

  absl::StatusOr<StepOutput> Feed(SlotId slot, std::vector<TokenId> tokens, int32_t first_position,
                                  std::vector<BlockId> blocks) {
    tokens_ = std::move(tokens);
    blocks_ = std::move(blocks);
    const Chunk chunk{
        .slot = slot, .tokens = tokens_, .first_position = first_position, .blocks = blocks_};
    const OutputRow row{.row = static_cast<int32_t>(tokens_.size()) - 1, .sample = true};
    return model_.Step({.chunks = {&chunk, 1}, .rows = {&row, 1}});
  }

  const std::vector<BlockId> block_ = {7};
  const std::vector<TokenId> prompt_ = {1, 2, 3, 4, 5, 6};
  FakeModel model_;
  std::vector<TokenId> tokens_;
  std::vector<BlockId> blocks_;
};

TEST_F(FakeModelTest, AnswersFromTheTokensInItsBlocks) {
  model_.Open(1, {.prompt = prompt_});
  const Chunk chunk{.slot = 1, .tokens = absl::MakeSpan(prompt_).first(4), .blocks = block_};
  ASSERT_TRUE(model_.Step({.chunks = {&chunk, 1}}).ok());

  const auto output = Feed(1, {5, 6}, 4, {7, 3});

  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->rows[0].tokens[0].token, FakeModel::NextToken(prompt_, {}, 0, 0));
}

TEST_F(FakeModelTest, NoticesAPositionThatWasNeverComputed) {
  const Chunk chunk{
      .slot = 0, .tokens = absl::MakeSpan(prompt_).first(1), .first_position = 1, .blocks = block_};
  EXPECT_NONFATAL_FAILURE(model_.Step({.chunks = {&chunk, 1}}).IgnoreError(), "expects position 0");
}

TEST_F(FakeModelTest, NoticesASlotThatSamplesForAnotherSequence) {
  EXPECT_NONFATAL_FAILURE(Feed(0, {1, 2, 9, 4, 5, 6}, 0, {2, 3}).IgnoreError(), "has not seen");
}

TEST_F(FakeModelTest, NoticesSlotsThatAreOpenedTwiceOrNeverOpened) {
  EXPECT_NONFATAL_FAILURE(model_.Open(0, {}), "open already");
  EXPECT_NONFATAL_FAILURE(model_.Close(5), "not open");
}

}  // namespace
}  // namespace peerage
