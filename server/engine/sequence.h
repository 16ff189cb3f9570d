#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/token.h"
#include "server/engine/prefix_cache.h"
#include "server/engine/response_sink.h"

namespace peerage {

struct Task;

// One row of tokens on its way through the model: the trunk of a task, or one of its branches. It
// is computed while tokens are pending, and finished when none is pending any more: whoever wants
// it to go on has appended the token that was sampled.
//
// Threads: none; belongs to one worker's scheduler.
struct Sequence {
  Task* task = nullptr;
  bool is_trunk = false;
  uint32_t index = 0;  // of the candidate or continuation; 0 for a trunk

  SlotId slot = -1;             // -1: none, a trunk that is computed
  std::vector<BlockId> blocks;  // in order of position
  int32_t shared_blocks = 0;    // so many of the first ones are full blocks of the trunk's
  int32_t remembered = 0;       // so many of the first ones have been shown to the prefix cache
  PrefixId prefix = kNoPrefix;  // what they hold
  int64_t promised_blocks = 0;  // that it may still take, to its end
  bool is_extra = false;        // beyond what its task was promised at admission

  int32_t start = 0;            // position of tokens[0]: the trunk is before it
  std::vector<TokenId> tokens;  // given, then generated
  int32_t given = 0;            // so many of tokens
  int64_t positions = 0;        // at its longest, from the first one on
  int32_t computed = 0;         // positions below it are in the KV cache
  int32_t reached = 0;          // positions below it were computed before: their results are known
  std::vector<TokenLogprob> logprobs;  // of the first tokens, where PrefixCache is to keep them
  uint64_t last_turn = 0;  // grows with every chunk that is scheduled: whose turn is next?

  // How many tokens are known and not computed.
  int32_t pending() const { return start + static_cast<int32_t>(tokens.size()) - computed; }
  absl::Span<const TokenId> generated() const { return absl::MakeSpan(tokens).subspan(given); }
  // Whether what is pending is one token that was generated.
  bool decodes() const { return !generated().empty() && pending() == 1; }

  // The first `count` tokens that are known and not computed.
  absl::Span<const TokenId> Next(int32_t count) const {
    return absl::MakeSpan(tokens).subspan(computed - start, count);
  }
};

}  // namespace peerage
