#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"

namespace peerage {

// Accounting of KV-cache blocks. A block is held, by several sequences when they share a prefix.
// One that nobody holds is free; if its content may be wanted again (PrefixCache) it is kept as it
// is for as long as other blocks are free, and what was let go longest ago is given up first. Who
// will need blocks later has a number of them promised. Nobody else gets these; which ones they are
// is decided when they are taken.
//
// Threads: none; belongs to one worker's scheduler.
// Cost: every call is O(blocks named); nothing is allocated after construction.
class BlockPool {
 public:
  // With firm promises, who adopts a block that others hold keeps its promise of one until they let
  // go: so whoever lets go of a block can have another one promised. Else the promise is free for
  // others at once, and more is in use than could be at once if nothing were shared.
  // Precondition: num_blocks >= 0.
  explicit BlockPool(int num_blocks, bool firm = true);

  // Precondition: count <= num_available().
  void Promise(int64_t count);
  // Precondition: so many are promised.
  void Forgo(int64_t count);
  // One of the promised blocks, with one holder; what it held is lost. Precondition: one is
  // promised.
  BlockId Take();
  // This block, which is kept or held, with one more holder, in place of one that is promised.
  // Precondition: one is promised.
  void Adopt(BlockId block);

  // One more holder for each block, of the same request. Precondition: every block is held.
  void Share(absl::Span<const BlockId> blocks);
  // One holder fewer for each block that was taken or adopted. Precondition: every block is held.
  void Release(absl::Span<const BlockId> blocks);
  // Likewise for each block that was shared.
  void ReleaseShared(absl::Span<const BlockId> blocks);

  // Whether the content of this block may be wanted again. Precondition: the block is held.
  void SetWorthKeeping(BlockId block, bool is_it) { is_worth_keeping_[block] = is_it; }

  int num_blocks() const { return static_cast<int>(holders_.size()); }
  // The promised and the kept ones included.
  int num_free() const { return static_cast<int>(free_.size()) + num_kept_; }
  int num_kept() const { return num_kept_; }
  int64_t num_available() const { return num_free() - promised_; }
  int holders(BlockId block) const { return holders_[block]; }
  // Promises that are kept for the block.
  int adopters(BlockId block) const { return adopters_[block]; }

 private:
  static constexpr BlockId kNone = -1;

  void LetGo(BlockId block);
  void AddToKept(BlockId block);
  void RemoveFromKept(BlockId block);

  const bool firm_;
  std::vector<int32_t> holders_;        // [num_blocks], 0 = free or kept
  std::vector<int32_t> adopters_;       // [num_blocks], whose promises are kept for it
  std::vector<bool> is_worth_keeping_;  // [num_blocks]
  std::vector<BlockId> free_;  // the most recently freed block is reused first: it may be in cache
  std::vector<BlockId> before_, after_;  // [num_blocks], neighbours in the list of kept blocks
  BlockId oldest_ = kNone, newest_ = kNone;
  int num_kept_ = 0;
  int64_t promised_ = 0;  // of the free and kept ones
};

}  // namespace peerage
