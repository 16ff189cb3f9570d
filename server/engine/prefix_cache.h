#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/token.h"
#include "server/engine/response_sink.h"

namespace peerage {

// Names the tokens of a sequence from its first one to the end of a block that is kept, and the
// salt that they were computed under; kNoPrefix is the place before the first block.
using PrefixId = uint64_t;
inline constexpr PrefixId kNoPrefix = 0;

// Which block has the keys and values of which tokens: blocks are found by what they hold and by
// what is before them. Hashes lead to a block, but its tokens decide, so nobody ever goes on from
// what is not his own beginning. An equal beginning under another salt is another prefix.
//
// A block may also keep how likely its first tokens were (TokenLogprob), all of them or those that
// somebody asked for: all that decides it is in the block and before it.
//
// Threads: none; belongs to one worker's scheduler.
// Cost: a lookup is O(tokens of a block).
class PrefixCache {
 public:
  PrefixCache(int num_blocks, int block_tokens);

  // Not copyable: its index refers to it.
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The block that holds these tokens behind that prefix, if one does. `tokens` fill a block; the
  // salt counts where there is no prefix.
  std::optional<BlockId> Find(PrefixId before, absl::string_view salt,
                              absl::Span<const TokenId> tokens) const;

  // From now on the block is found, unless another one holds the same: the one that is found.
  // Precondition: nothing is remembered of the block.
  BlockId Remember(BlockId block, PrefixId before, absl::string_view salt,
                   absl::Span<const TokenId> tokens);
  // The block's content is lost. Nothing happens when nothing is remembered of it.
  void Forget(BlockId block);

  bool Remembers(BlockId block) const { return contents_[block].id != kNoPrefix; }
  // Of a block that is remembered.
  PrefixId PrefixOf(BlockId block) const { return contents_[block].id; }

  // How likely the first tokens of the block were, in their order, with so many alternatives at
  // least, as far as that is known. Precondition: the block is remembered.
  absl::Span<const TokenLogprob> LogprobsOf(BlockId block, int32_t alternatives) const;
  // What is known already stays unless this is of more tokens, or has more alternatives.
  void AddLogprobs(BlockId block, absl::Span<const TokenLogprob> logprobs, int32_t alternatives);

 private:
  struct Content {
    PrefixId id = kNoPrefix;  // nothing is remembered
    PrefixId before = kNoPrefix;
    std::string salt;  // where nothing is before
    std::vector<TokenLogprob> logprobs;
    int32_t alternatives = -1;  // that logprobs have
  };
  struct Key {
    PrefixId before;
    absl::string_view salt;
    absl::Span<const TokenId> tokens;
  };
  struct Hash {
    using is_transparent = void;
    const PrefixCache* cache;
    size_t operator()(const Key& key) const;
    size_t operator()(BlockId block) const { return (*this)(cache->KeyOf(block)); }
  };
  struct Equal {
    using is_transparent = void;
    const PrefixCache* cache;
    bool operator()(BlockId a, BlockId b) const { return a == b; }
    bool operator()(BlockId a, const Key& b) const;
  };

  Key KeyOf(BlockId block) const;

  const int block_tokens_;
  PrefixId last_id_ = kNoPrefix;
  std::vector<Content> contents_;  // [num_blocks]
  std::vector<TokenId> tokens_;    // [num_blocks, block_tokens]
  absl::flat_hash_set<BlockId, Hash, Equal> index_;
};

}  // namespace peerage
