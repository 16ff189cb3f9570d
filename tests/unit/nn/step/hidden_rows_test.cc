#include "model/nn/step/hidden_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace peerage::nn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Two chunks of 3 and 2 tokens.
class HiddenRowsTest : public testing::Test {
 protected:
  void Assign(const std::vector<HiddenRow>& wanted) {
    const std::vector<TokenId> tokens = {1, 2, 3};
    const std::vector<BlockId> blocks = {0};
    const std::vector<Chunk> chunks = {{.slot = 4, .tokens = tokens, .blocks = blocks},
                                       {.tokens = {tokens.data(), 2}, .blocks = blocks}};
    const StepInput input{.chunks = chunks, .hidden_rows = wanted};
    batch_.Assign(input);
    hidden_.Assign(input, batch_);
  }

  StepBatch batch_{32};
  HiddenRows hidden_{3};
};

TEST_F(HiddenRowsTest, LieLayerAfterLayerAndComeBackInTheOrderThatWasAskedFor) {
  Assign({{.chunk = 1, .row = 1, .layer = 7},
          {.chunk = 0, .row = 2, .layer = 2},
          {.chunk = 0, .row = 0, .layer = 7},
          {.chunk = 1, .row = 0, .layer = 0},
          {.chunk = 1, .row = 1, .layer = 2}});
  EXPECT_THAT(hidden_.tokens(), ElementsAre(3, 2, 4, 4, 0));
  const std::vector<std::vector<int>> ranges = {{0, 1}, {1, 1}, {1, 3}, {3, 3}, {3, 3},
                                                {3, 3}, {3, 3}, {3, 5}, {5, 5}, {5, 5}};
  for (int layer = 0; layer < static_cast<int>(ranges.size()); ++layer) {
    const HiddenRows::Range rows = hidden_.RowsOf(layer);
    EXPECT_THAT(ranges[layer], ElementsAre(rows.first, rows.end)) << layer;
  }

  std::iota(hidden_.values().begin(), hidden_.values().end(), 100);
  const auto output = hidden_.Output();
  ASSERT_EQ(output.size(), 5u);
  EXPECT_THAT(output[0], ElementsAre(109, 110, 111));
  EXPECT_THAT(output[1], ElementsAre(103, 104, 105));
  EXPECT_THAT(output[2], ElementsAre(112, 113, 114));
  EXPECT_THAT(output[3], ElementsAre(100, 101, 102));
  EXPECT_THAT(output[4], ElementsAre(106, 107, 108));
}

TEST_F(HiddenRowsTest, AreThoseOfTheLastStepAlone) {
  Assign({{.chunk = 1, .row = 1, .layer = 3}});
  Assign({{.chunk = 0, .row = 1, .layer = 1}});
  EXPECT_THAT(hidden_.tokens(), ElementsAre(1));
  EXPECT_EQ(hidden_.RowsOf(1).end, 1);
  EXPECT_EQ(hidden_.RowsOf(3).first, hidden_.RowsOf(3).end);
  Assign({});
  EXPECT_TRUE(hidden_.empty());
  EXPECT_EQ(hidden_.RowsOf(1).end, 0);
  EXPECT_THAT(hidden_.Output(), IsEmpty());
}

}  // namespace
}  // namespace peerage::nn
