#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/token.h"

namespace peerage {

class RunningRequest;

// Progress of one row of tokens through the model: a prompt, a candidate, a context or a
// continuation. A forked sequence knows only the tokens from its fork on; what is before is in the
// KV blocks that it shares with, or copied from, its parent.
//
// Threads: none; belongs to one worker's scheduler.
struct Sequence {
  RunningRequest* request = nullptr;
  const Sequence* parent = nullptr;  // forked from; null for a fresh sequence
  uint32_t index = 0;                // of the candidate or continuation

  SlotId slot = -1;
  std::vector<BlockId> blocks;  // in order of position
  // So many of the first blocks are full blocks of the parent, which both sequences hold.
  int32_t shared_blocks = 0;
  // The slot and the blocks that are not shared were free ones, not the request's reserved ones,
  // and will be free again.
  bool extra = false;

  int32_t start = 0;            // position of tokens[0]
  std::vector<TokenId> tokens;  // known; generated ones are appended
  int32_t computed = 0;         // positions below it are in the KV cache
  bool decoding = false;        // its pending token was generated
  bool finished = false;
  uint64_t last_turn = 0;  // grows with every chunk that is scheduled: whose turn is next?

  // How many tokens are known and not computed.
  int32_t pending() const { return start + static_cast<int32_t>(tokens.size()) - computed; }

  // The first `count` tokens that are known and not computed.
  absl::Span<const TokenId> Next(int32_t count) const {
    return absl::MakeSpan(tokens).subspan(computed - start, count);
  }
};

// A sequence that a request would start next.
struct SequencePlan {
  const Sequence* parent = nullptr;  // to fork from, computed as far as it is shared; null: none
  int32_t positions = 0;             // of the sequence at its longest, its parent's included
};

// What a request holds beside what its sequences hold: reserved for those that it will start.
struct ReservedResources {
  std::vector<BlockId> blocks;
  std::vector<SlotId> slots;
  int32_t sequences = 0;
};

}  // namespace peerage
