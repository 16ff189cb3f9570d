#include "server/engine/block_pool.h"

#include <cassert>

namespace peerage {

BlockPool::BlockPool(int num_blocks) : holders_(num_blocks, 0) {
  free_.reserve(num_blocks);
  for (BlockId block = num_blocks - 1; block >= 0; --block) free_.push_back(block);
}

void BlockPool::Promise(int64_t count) {
  assert(count <= num_available());
  promised_ += count;
}

void BlockPool::Forgo(int64_t count) {
  assert(count <= promised_);
  promised_ -= count;
}

BlockId BlockPool::Take() {
  assert(promised_ > 0);
  --promised_;
  const BlockId block = free_.back();
  free_.pop_back();
  holders_[block] = 1;
  return block;
}

void BlockPool::Share(absl::Span<const BlockId> blocks) {
  for (BlockId block : blocks) {
    assert(holders_[block] > 0);
    ++holders_[block];
  }
}

void BlockPool::Release(absl::Span<const BlockId> blocks) {
  for (BlockId block : blocks) {
    assert(holders_[block] > 0);
    if (--holders_[block] == 0) free_.push_back(block);
  }
}

}  // namespace peerage
