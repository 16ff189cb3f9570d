#include "server/engine/block_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace peerage {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

std::vector<BlockId> Take(BlockPool& pool, int count) {
  pool.Promise(count);
  std::vector<BlockId> blocks;
  for (int i = 0; i < count; ++i) blocks.push_back(pool.Take());
  return blocks;
}

TEST(BlockPoolTest, HandsOutEachBlockOnce) {
  BlockPool pool(3);

  EXPECT_THAT(Take(pool, 3), ElementsAre(0, 1, 2));
  EXPECT_EQ(pool.num_free(), 0);
  EXPECT_EQ(pool.num_available(), 0);
}

TEST(BlockPoolTest, WhatIsPromisedIsFreeButNotAvailable) {
  BlockPool pool(5);
  pool.Promise(3);
  EXPECT_EQ(pool.num_free(), 5);
  EXPECT_EQ(pool.num_available(), 2);

  pool.Take();
  EXPECT_EQ(pool.num_free(), 4);
  EXPECT_EQ(pool.num_available(), 2);

  pool.Forgo(2);
  EXPECT_EQ(pool.num_available(), 4);
}

TEST(BlockPoolTest, KeepsASharedBlockUntilItsLastHolderReleasesIt) {
  BlockPool pool(2);
  const std::vector<BlockId> blocks = Take(pool, 2);
  pool.Share(blocks);

  pool.Release(blocks);
  EXPECT_EQ(pool.num_free(), 0);

  pool.Release(blocks);
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_EQ(pool.num_available(), 2);
}

TEST(BlockPoolTest, GivesUpKeptBlocksLastAndTheOldestFirst) {
  BlockPool pool(4);
  const std::vector<BlockId> blocks = Take(pool, 3);
  for (BlockId block : {blocks[0], blocks[1]}) pool.SetWorthKeeping(block, true);
  pool.Release({blocks[1]});
  pool.Release({blocks[0], blocks[2]});
  EXPECT_EQ(pool.num_kept(), 2);
  EXPECT_EQ(pool.num_available(), 4);

  EXPECT_THAT(Take(pool, 4), ElementsAre(blocks[2], 3, blocks[1], blocks[0]));
  EXPECT_EQ(pool.num_kept(), 0);
  pool.Release({blocks[0]});
  EXPECT_EQ(pool.num_kept(), 0) << "what it holds now is not worth keeping";
}

TEST(BlockPoolTest, GivesUpTheEndOfASequenceBeforeItsBeginning) {
  BlockPool pool(3);
  const std::vector<BlockId> blocks = Take(pool, 3);
  for (BlockId block : blocks) pool.SetWorthKeeping(block, true);
  pool.Release(blocks);

  EXPECT_THAT(Take(pool, 3), ElementsAre(blocks[2], blocks[1], blocks[0]));
}

TEST(BlockPoolTest, AdoptsAKeptBlockInPlaceOfAPromisedOne) {
  BlockPool pool(2);
  const std::vector<BlockId> blocks = Take(pool, 1);
  pool.SetWorthKeeping(blocks[0], true);
  pool.Release(blocks);
  pool.Promise(1);

  pool.Adopt(blocks[0]);
  EXPECT_EQ(pool.num_kept(), 0);
  EXPECT_EQ(pool.num_available(), 1);
  EXPECT_EQ(pool.holders(blocks[0]), 1);
  pool.Release(blocks);
  EXPECT_EQ(pool.num_kept(), 1) << "its content is still there";
}

// Whoever lets go of a block may have another one promised, whoever else holds it.
TEST(BlockPoolTest, KeepsThePromiseOfWhoSharesUntilTheOthersLetGo) {
  for (const bool firm : {true, false}) {
    BlockPool pool(2, firm);
    const std::vector<BlockId> blocks = Take(pool, 1);
    pool.Promise(1);

    pool.Adopt(blocks[0]);
    EXPECT_EQ(pool.num_available(), firm ? 0 : 1);
    pool.Release(blocks);
    EXPECT_EQ(pool.num_available(), 1);
    EXPECT_EQ(pool.num_free(), 1);
    pool.Release(blocks);
    EXPECT_EQ(pool.num_available(), 2);
  }
}

TEST(BlockPoolTest, MayBeEmpty) {
  BlockPool pool(0);
  pool.Promise(0);
  pool.Forgo(0);
  EXPECT_EQ(pool.num_available(), 0);
}

// The invariant the scheduler relies on, under random use: free + held = all, promises are kept,
// and no block is handed out while somebody holds it.
TEST(BlockPoolTest, ConservesBlocksUnderRandomUse) {
  constexpr int kBlocks = 37;
  BlockPool pool(kBlocks);
  std::mt19937 random(20240704);
  std::vector<BlockId> held;  // one entry per holder
  int64_t promised = 0;

  for (int step = 0; step < 20'000; ++step) {
    const int action = random() % 5;
    if (action == 0) {
      const auto count = std::min<int64_t>(random() % 4, pool.num_available());
      pool.Promise(count);
      promised += count;
    } else if (action == 1 && promised > 0) {
      pool.Forgo(1);
      --promised;
    } else if (action == 2 && promised > 0) {
      const BlockId block = pool.Take();
      --promised;
      ASSERT_THAT(held, Each(::testing::Ne(block))) << "step " << step;
      held.push_back(block);
    } else if (action > 2 && !held.empty()) {
      const size_t i = random() % held.size();
      const BlockId block = held[i];
      if (action == 3) {
        pool.Share({block});
        held.push_back(block);
      } else {
        pool.Release({block});
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    int free = 0;
    for (BlockId block = 0; block < kBlocks; ++block) free += pool.holders(block) == 0;
    ASSERT_EQ(pool.num_free(), free) << "step " << step;
    ASSERT_EQ(pool.num_available(), free - promised) << "step " << step;
    ASSERT_GE(pool.num_available(), 0) << "step " << step;
  }
}

}  // namespace
}  // namespace peerage
