#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"

namespace peerage {

// Accounting of KV-cache blocks. A block is free or held: by several sequences when they share a
// prefix, and free again when the last of them lets go. Who will need blocks later has a number of
// free ones promised. Nobody else gets these; which ones they are is decided when they are taken.
//
// Threads: none; belongs to one worker's scheduler.
// Cost: every call is O(blocks named); nothing is allocated after construction.
class BlockPool {
 public:
  // Precondition: num_blocks >= 0.
  explicit BlockPool(int num_blocks);

  // Precondition: count <= num_available().
  void Promise(int64_t count);
  // Precondition: so many are promised.
  void Forgo(int64_t count);
  // One of the promised blocks, with one holder. Precondition: one is promised.
  BlockId Take();

  // One more holder for each block. Precondition: every block is held.
  void Share(absl::Span<const BlockId> blocks);
  // One holder fewer for each block. Precondition: every block is held.
  void Release(absl::Span<const BlockId> blocks);

  int num_blocks() const { return static_cast<int>(holders_.size()); }
  int num_free() const { return static_cast<int>(free_.size()); }  // the promised ones included
  int64_t num_available() const { return num_free() - promised_; }
  int holders(BlockId block) const { return holders_[block]; }

 private:
  std::vector<int32_t> holders_;  // [num_blocks], 0 = free
  std::vector<BlockId> free_;  // the most recently freed block is reused first: it may be in cache
  int64_t promised_ = 0;       // of the free ones
};

}  // namespace peerage
