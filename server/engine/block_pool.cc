#include "server/engine/block_pool.h"

#include <cassert>

namespace peerage {

BlockPool::BlockPool(int num_blocks, bool firm)
    : firm_(firm),
      holders_(num_blocks, 0),
      adopters_(num_blocks, 0),
      is_worth_keeping_(num_blocks, false),
      before_(num_blocks, kNone),
      after_(num_blocks, kNone) {
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
  BlockId block = oldest_;
  if (free_.empty()) {
    RemoveFromKept(block);
  } else {
    block = free_.back();
    free_.pop_back();
  }
  is_worth_keeping_[block] = false;
  holders_[block] = 1;
  return block;
}

void BlockPool::Adopt(BlockId block) {
  assert(promised_ > 0);
  if (holders_[block]++ == 0) {
    RemoveFromKept(block);
    --promised_;
  } else if (firm_) {
    ++adopters_[block];
  } else {
    --promised_;
  }
}

void BlockPool::Share(absl::Span<const BlockId> blocks) {
  for (BlockId block : blocks) {
    assert(holders_[block] > 0);
    ++holders_[block];
  }
}

// What comes late in a sequence is of use to fewer than what comes early, so it is given up first.
void BlockPool::Release(absl::Span<const BlockId> blocks) {
  for (size_t i = blocks.size(); i > 0; --i) {
    const BlockId block = blocks[i - 1];
    if (adopters_[block] > 0) {
      --adopters_[block];
      --promised_;
    }
    LetGo(block);
  }
}

void BlockPool::ReleaseShared(absl::Span<const BlockId> blocks) {
  for (size_t i = blocks.size(); i > 0; --i) LetGo(blocks[i - 1]);
}

void BlockPool::LetGo(BlockId block) {
  assert(holders_[block] > 0);
  if (--holders_[block] > 0) return;
  if (is_worth_keeping_[block]) {
    AddToKept(block);
  } else {
    free_.push_back(block);
  }
}

void BlockPool::AddToKept(BlockId block) {
  before_[block] = newest_;
  after_[block] = kNone;
  (newest_ == kNone ? oldest_ : after_[newest_]) = block;
  newest_ = block;
  ++num_kept_;
}

void BlockPool::RemoveFromKept(BlockId block) {
  const BlockId before = before_[block], after = after_[block];
  (before == kNone ? oldest_ : after_[before]) = after;
  (after == kNone ? newest_ : before_[after]) = before;
  --num_kept_;
}

}  // namespace peerage
