#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"

namespace peerage {

// Accounting of KV-cache blocks: which are free, and how many sequences hold each of the others.
// Forked sequences share their full blocks, so a block is free again when its last holder lets go.
//
// Threads: none; belongs to one worker's scheduler.
// Cost: every call is O(blocks named); nothing is allocated after construction.
class BlockAllocator {
 public:
  // Precondition: num_blocks >= 0.
  explicit BlockAllocator(int num_blocks);

  // Takes blocks.size() free blocks, each with one holder. All or nothing: when fewer are free,
  // returns false and leaves both the allocator and `blocks` as they were.
  [[nodiscard]] bool Allocate(absl::Span<BlockId> blocks);

  // One more holder for each block. Precondition: every block is held.
  void Share(absl::Span<const BlockId> blocks);

  // One holder fewer for each block. Precondition: every block is held.
  void Release(absl::Span<const BlockId> blocks);

  int num_blocks() const { return static_cast<int>(holders_.size()); }
  int num_free() const { return static_cast<int>(free_.size()); }
  int holders(BlockId block) const { return holders_[block]; }

 private:
  std::vector<int32_t> holders_;  // [num_blocks], 0 = free
  std::vector<BlockId> free_;  // the most recently freed block is reused first: it may be in cache
};

}  // namespace peerage
