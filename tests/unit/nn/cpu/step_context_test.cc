#include "model/nn/cpu/step_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace peerage::nn::cpu {
namespace {

using ::testing::ElementsAre;

// Chunks given by their lengths and first positions, each with a block list of its own.
class StepTablesTest : public testing::Test {
 protected:
  struct Piece {
    int tokens;
    int position;
  };
  void Assign(const std::vector<Piece>& pieces) {
    chunks_.clear();
    for (size_t i = 0; i < pieces.size(); ++i) {
      chunks_.push_back({.tokens = {ids_.data(), static_cast<size_t>(pieces[i].tokens)},
                         .first_position = pieces[i].position,
                         .blocks = blocks_[i]});
    }
    batch_.Assign({.chunks = chunks_});
    tables_.Assign(batch_);
  }

  // "row+tokens@position" of every item.
  std::vector<std::string> Items() const {
    std::vector<std::string> texts;
    for (const kernels::AttentionItem& item : tables_.attention_items()) {
      texts.push_back(absl::StrCat(item.row, "+", item.tokens, "@", item.position));
    }
    return texts;
  }

  const std::vector<TokenId> ids_ = std::vector<TokenId>(40, 1);
  const std::vector<std::vector<BlockId>> blocks_ = {{0, 1, 2, 3, 4}, {5, 6, 7, 8, 9}, {10, 11}};
  std::vector<Chunk> chunks_;
  StepBatch batch_{32};
  StepTables tables_;
};

TEST_F(StepTablesTest, ChunksAreCutIntoItemsOfAtMostEightRows) {
  Assign({{19, 0}});
  EXPECT_THAT(Items(), ElementsAre("8+8@8", "0+8@0", "16+3@16"));
  Assign({{8, 3}});
  EXPECT_THAT(Items(), ElementsAre("0+8@3"));
  Assign({{9, 3}});
  EXPECT_THAT(Items(), ElementsAre("0+8@3", "8+1@11"));
}

// Work is rows times the positions that the last of them sees.
TEST_F(StepTablesTest, TheMostWorkComesFirst) {
  Assign({{1, 0}, {1, 100}, {2, 30}});
  EXPECT_THAT(Items(), ElementsAre("1+1@100", "2+2@30", "0+1@0"));
}

TEST_F(StepTablesTest, ItemsKnowTheBlocksOfTheirSequence) {
  Assign({{1, 0}, {9, 32}, {1, 5}});
  for (const kernels::AttentionItem& item : tables_.attention_items()) {
    const size_t chunk = item.row == 0 ? 0 : item.row == 10 ? 2 : 1;
    EXPECT_EQ(item.blocks, blocks_[chunk].data()) << item.row;
    EXPECT_EQ(item.kv_head, 0);
  }
}

TEST_F(StepTablesTest, AreReusedWithoutLeftovers) {
  Assign({{40, 0}, {40, 3}, {33, 1}});
  ASSERT_EQ(Items().size(), 15u);
  Assign({{3, 1}});
  EXPECT_THAT(Items(), ElementsAre("0+3@1"));
  Assign({});
  EXPECT_THAT(Items(), ElementsAre());
}

// cos and sin of position * theta^(-2i / dim); the position is the token's own.
TEST_F(StepTablesTest, AnglesAreThoseOfPositionsThetaAndDim) {
  Assign({{3, 7}, {2, 90}});
  const int positions[] = {7, 8, 9, 90, 91};
  for (const RotaryPlan& rotary : {RotaryPlan{.dim = 10, .theta = 700},
                                   RotaryPlan{.dim = 10, .theta = 10000}, RotaryPlan{.dim = 2}}) {
    const StepTables::RotaryAngles& angles = tables_.angles(rotary, batch_);
    for (int t = 0; t < 5; ++t) {
      for (int i = 0; i < rotary.dim / 2; ++i) {
        const double angle = positions[t] * std::pow(double{rotary.theta}, -2.0 * i / rotary.dim);
        EXPECT_NEAR(angles.cos(t)[i], std::cos(angle), 1e-5) << t << ", " << i;
        EXPECT_NEAR(angles.sin(t)[i], std::sin(angle), 1e-5) << t << ", " << i;
      }
    }
  }
}

// Once for all layers of a step, and anew for the next step.
TEST_F(StepTablesTest, AnglesAreComputedOnceAStep) {
  const RotaryPlan rotary{.dim = 6, .theta = 97};
  Assign({{2, 0}});
  const float* first = tables_.angles(rotary, batch_).cos(1);
  EXPECT_NEAR(first[0], std::cos(1.0), 1e-6);
  const_cast<float*>(first)[0] = 42;
  EXPECT_EQ(tables_.angles(rotary, batch_).cos(1)[0], 42);
  // Another kind beside it keeps its own.
  EXPECT_NE(tables_.angles({.dim = 6, .theta = 98}, batch_).cos(1)[0], 42);

  Assign({{2, 4}});
  EXPECT_NEAR(tables_.angles(rotary, batch_).cos(1)[0], std::cos(5.0), 1e-6);
}

TEST_F(StepTablesTest, AnglesGrowWithTheBatch) {
  const RotaryPlan rotary{.dim = 4, .theta = 31};
  Assign({{1, 3}});
  EXPECT_NEAR(tables_.angles(rotary, batch_).sin(0)[0], std::sin(3.0), 1e-6);
  Assign({{33, 2}});
  EXPECT_NEAR(tables_.angles(rotary, batch_).sin(32)[0], std::sin(34.0), 1e-5);
}

TEST(ForRowsTest, CoversEveryRowOnce) {
  for (const int threads : {1, 3}) {
    kernels::ThreadPool pool(threads);
    for (const int rows : {0, 1, 7, 8, 9, 33, 257}) {
      std::vector<int> seen(rows);
      ForRows(pool, rows, [&](RowRange range) {
        for (int i = range.first; i < range.end; ++i) ++seen[i];
      });
      EXPECT_EQ(seen, std::vector<int>(rows, 1));
    }
  }
}

}  // namespace
}  // namespace peerage::nn::cpu
