#include "server/engine/block_allocator.h"

#include <cassert>

namespace peerage {

BlockAllocator::BlockAllocator(int num_blocks) : holders_(num_blocks, 0) {
  free_.reserve(num_blocks);
  for (BlockId block = num_blocks - 1; block >= 0; --block) free_.push_back(block);
}

bool BlockAllocator::Allocate(absl::Span<BlockId> blocks) {
  if (blocks.size() > free_.size()) return false;
  for (BlockId& block : blocks) {
    block = free_.back();
    free_.pop_back();
    holders_[block] = 1;
  }
  return true;
}

void BlockAllocator::Share(absl::Span<const BlockId> blocks) {
  for (BlockId block : blocks) {
    assert(holders_[block] > 0);
    ++holders_[block];
  }
}

void BlockAllocator::Release(absl::Span<const BlockId> blocks) {
  for (BlockId block : blocks) {
    assert(holders_[block] > 0);
    if (--holders_[block] == 0) free_.push_back(block);
  }
}

}  // namespace peerage
