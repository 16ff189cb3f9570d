#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"
#include "server/engine/block_pool.h"
#include "server/engine/prefix_cache.h"
#include "server/engine/response_sink.h"
#include "server/engine/sequence.h"

namespace peerage {

// What sequences leave behind for others and find of others: every full block of theirs is shown to
// the cache, and a sequence that begins goes on behind those that hold its first tokens.
//
// Threads: none; belongs to one scheduler.
class KeptPrefixes {
 public:
  // `blocks` must outlive it. Where it is not on, nothing is kept and nothing found.
  KeptPrefixes(bool is_on, int32_t block_tokens, BlockPool* blocks);

  // The sequence, which has started and has no block yet, adopts the blocks that hold its beginning
  // in place of promised ones, as far as its tokens are wanted for what follows them alone
  // (Work::first_needed_position), or the likelihoods that are wanted of the given ones are known.
  // Its task is told (Task::cached). One that begins again skips no more than it had reached
  // before.
  void Find(Sequence& sequence);

  // Blocks of the sequence that have become full can be found from now on.
  void Remember(Sequence& sequence);

  // Nobody is to find these blocks any more.
  void Forget(absl::Span<const BlockId> blocks);

 private:
  std::vector<BlockId> LookUp(const Sequence& sequence, int32_t most) const;
  std::vector<TokenLogprob> LogprobsOf(absl::Span<const BlockId> blocks, TokenId first,
                                       int32_t alternatives) const;

  const bool is_on_;
  const int32_t block_tokens_;
  BlockPool* const blocks_;
  PrefixCache cache_;
  std::vector<TokenId> block_;  // that is shown to the cache
};

}  // namespace peerage
