#include "server/engine/block_allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace peerage {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

std::vector<BlockId> AllocateOrDie(BlockAllocator& allocator, int n) {
  std::vector<BlockId> blocks(n);
  EXPECT_TRUE(allocator.Allocate(absl::MakeSpan(blocks)));
  return blocks;
}

TEST(BlockAllocatorTest, HandsOutEachBlockOnce) {
  BlockAllocator allocator(3);

  EXPECT_THAT(AllocateOrDie(allocator, 3), ElementsAre(0, 1, 2));
  EXPECT_EQ(allocator.num_free(), 0);
}

TEST(BlockAllocatorTest, TakesNothingWhenTooFewAreFree) {
  BlockAllocator allocator(2);
  std::vector<BlockId> blocks(3, -7);

  EXPECT_FALSE(allocator.Allocate(absl::MakeSpan(blocks)));

  EXPECT_THAT(blocks, Each(-7));
  EXPECT_EQ(allocator.num_free(), 2);
}

TEST(BlockAllocatorTest, KeepsASharedBlockUntilItsLastHolderReleasesIt) {
  BlockAllocator allocator(2);
  const std::vector<BlockId> blocks = AllocateOrDie(allocator, 2);
  allocator.Share(blocks);

  allocator.Release(blocks);
  EXPECT_EQ(allocator.num_free(), 0);

  allocator.Release(blocks);
  EXPECT_EQ(allocator.num_free(), 2);
}

TEST(BlockAllocatorTest, AcceptsAnEmptyRequestAndAnEmptyPool) {
  BlockAllocator allocator(0);

  EXPECT_TRUE(allocator.Allocate({}));
  EXPECT_EQ(allocator.num_free(), 0);
}

// The invariant the scheduler relies on, under random use: free + held = all, and no block is
// handed out while somebody holds it.
TEST(BlockAllocatorTest, ConservesBlocksUnderRandomUse) {
  constexpr int kBlocks = 37;
  BlockAllocator allocator(kBlocks);
  std::mt19937 random(20240704);
  std::vector<BlockId> held;  // one entry per holder

  for (int step = 0; step < 20'000; ++step) {
    const int action = random() % 3;
    if (action == 0) {
      BlockId block = -1;
      if (allocator.Allocate(absl::MakeSpan(&block, 1))) {
        ASSERT_THAT(held, Each(::testing::Ne(block))) << "step " << step;
        held.push_back(block);
      }
    } else if (!held.empty()) {
      const size_t i = random() % held.size();
      const BlockId block = held[i];
      if (action == 1) {
        allocator.Share({block});
        held.push_back(block);
      } else {
        allocator.Release({block});
        held.erase(held.begin() + i);
      }
    }
    int free = 0;
    for (BlockId block = 0; block < kBlocks; ++block) free += allocator.holders(block) == 0;
    ASSERT_EQ(allocator.num_free(), free) << "step " << step;
  }
}

}  // namespace
}  // namespace peerage
