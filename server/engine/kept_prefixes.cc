#include "server/engine/kept_prefixes.h"

#include <algorithm>

#include "server/engine/task.h"

namespace peerage {
namespace {

// Whether it begins anew, and its first tokens are wanted for what follows them alone.
bool MaySkip(const Sequence& sequence) {
  return sequence.is_trunk || (sequence.start == 0 && !sequence.task->work.branches_are_scored);
}

}  // namespace

KeptPrefixes::KeptPrefixes(bool is_on, int32_t block_tokens, BlockPool* blocks)
    : is_on_(is_on),
      block_tokens_(block_tokens),
      blocks_(blocks),
      cache_(blocks->num_blocks(), block_tokens) {}

// A sequence that begins anew goes on behind what is in the cache of its tokens, up to the last
// one, which has to be computed for what follows it, or to the first one of which more than keys
// and values is needed. With likelihoods wanted, those of what is skipped have to be known, and
// that of the first token behind it, too; but of given tokens alone, not of those that were
// generated. One that begins again skips no more than was told to be known when it first began, or
// was delivered since.
void KeptPrefixes::Find(Sequence& sequence) {
  if (!is_on_ || !MaySkip(sequence)) return;
  Task& task = *sequence.task;
  const bool is_new = !task.started;
  const bool wants_logprobs = is_new && task.work.prompt_alternatives >= 0;
  const int32_t size = block_tokens_;
  auto most = static_cast<int32_t>(sequence.tokens.size() - 1) / size;
  most = std::min(most, (is_new ? task.work.first_needed_position : sequence.reached) / size);
  std::vector<BlockId> found = LookUp(sequence, most + (wants_logprobs ? 1 : 0));
  if (wants_logprobs) {
    sequence.logprobs = LogprobsOf(found, sequence.tokens[0], task.work.prompt_alternatives);
    const auto known = static_cast<int32_t>(sequence.logprobs.size());
    if (known < sequence.given) most = std::min(most, (known - 1) / size);
  }
  found.resize(std::min<size_t>(found.size(), most));
  if (wants_logprobs) {
    sequence.logprobs.resize(std::min<size_t>(found.size() * size + 1, sequence.given));
  }

  for (BlockId block : found) {
    blocks_->Adopt(block);
    --sequence.promised_blocks;
    sequence.blocks.push_back(block);
    sequence.prefix = cache_.PrefixOf(block);
  }
  sequence.remembered = static_cast<int32_t>(found.size());
  sequence.computed = sequence.remembered * size;
  if (!is_new) return;
  // What it found when it started without getting as far as a step does not count.
  sequence.reached = sequence.computed;
  task.cached = {.queried = static_cast<int32_t>(sequence.tokens.size()),
                 .tokens = sequence.computed,
                 .logprobs = sequence.logprobs};
}

// The blocks that hold the beginning of the sequence.
std::vector<BlockId> KeptPrefixes::LookUp(const Sequence& sequence, int32_t most) const {
  std::vector<BlockId> found;
  PrefixId prefix = kNoPrefix;
  const absl::Span<const TokenId> tokens = sequence.tokens;
  const size_t size = block_tokens_;
  for (size_t i = 0; i < static_cast<size_t>(most) && (i + 1) * size <= tokens.size(); ++i) {
    const auto block =
        cache_.Find(prefix, sequence.task->work.salt, tokens.subspan(i * size, size));
    if (!block) break;
    found.push_back(*block);
    prefix = cache_.PrefixOf(*block);
  }
  return found;
}

// Of the first tokens of the blocks, one after the other, as far as they are known; at least of the
// first one, which has nothing before it.
std::vector<TokenLogprob> KeptPrefixes::LogprobsOf(absl::Span<const BlockId> blocks, TokenId first,
                                                   int32_t alternatives) const {
  std::vector<TokenLogprob> logprobs;
  for (BlockId block : blocks) {
    const auto known = cache_.LogprobsOf(block, alternatives);
    logprobs.insert(logprobs.end(), known.begin(), known.end());
    if (static_cast<int32_t>(known.size()) < block_tokens_) break;
  }
  if (logprobs.empty()) logprobs.push_back({.token = first});
  return logprobs;
}

void KeptPrefixes::Forget(absl::Span<const BlockId> blocks) {
  for (BlockId block : blocks) {
    cache_.Forget(block);
    blocks_->SetWorthKeeping(block, false);
  }
}

// Shows the cache the blocks that are full now.
void KeptPrefixes::Remember(Sequence& sequence) {
  if (!is_on_) return;
  const int32_t size = block_tokens_;
  const Work& work = sequence.task->work;
  for (; (sequence.remembered + 1) * size <= sequence.computed; ++sequence.remembered) {
    const int32_t first = sequence.remembered * size;
    block_.clear();
    for (int32_t position = first; position < first + size; ++position) {
      const bool is_shared = position < sequence.start;
      block_.push_back(is_shared ? work.trunk[position]
                                 : sequence.tokens[position - sequence.start]);
    }
    const BlockId own = sequence.blocks[sequence.remembered];
    const BlockId known = cache_.Remember(own, sequence.prefix, work.salt, block_);
    if (known == own) blocks_->SetWorthKeeping(own, true);
    sequence.prefix = cache_.PrefixOf(known);
    if (static_cast<int32_t>(sequence.logprobs.size()) <= first) continue;
    cache_.AddLogprobs(known, absl::MakeSpan(sequence.logprobs).subspan(first, size),
                       work.prompt_alternatives);
  }
}

}  // namespace peerage
