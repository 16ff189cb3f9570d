#include "server/engine/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"

namespace peerage {

size_t PrefixCache::Hash::operator()(const Key& key) const {
  return absl::HashOf(key.before, key.salt, key.tokens);
}

bool PrefixCache::Equal::operator()(BlockId a, const Key& b) const {
  const Key key = cache->KeyOf(a);
  return key.before == b.before && key.salt == b.salt && key.tokens == b.tokens;
}

PrefixCache::PrefixCache(int num_blocks, int block_tokens)
    : block_tokens_(block_tokens),
      contents_(num_blocks),
      tokens_(static_cast<size_t>(num_blocks) * block_tokens),
      index_(/*bucket_count=*/0, Hash{this}, Equal{this}) {}

PrefixCache::Key PrefixCache::KeyOf(BlockId block) const {
  const Content& content = contents_[block];
  const size_t first = static_cast<size_t>(block) * block_tokens_;
  return {.before = content.before,
          .salt = content.salt,
          .tokens = absl::MakeSpan(tokens_).subspan(first, block_tokens_)};
}

std::optional<BlockId> PrefixCache::Find(PrefixId before, absl::string_view salt,
                                         absl::Span<const TokenId> tokens) const {
  if (before != kNoPrefix) salt = {};
  const auto found = index_.find(Key{before, salt, tokens});
  if (found == index_.end()) return std::nullopt;
  return *found;
}

BlockId PrefixCache::Remember(BlockId block, PrefixId before, absl::string_view salt,
                              absl::Span<const TokenId> tokens) {
  if (const auto other = Find(before, salt, tokens)) return *other;
  Content& content = contents_[block];
  content.id = ++last_id_;
  content.before = before;
  if (before == kNoPrefix) content.salt = std::string(salt);
  std::copy(tokens.begin(), tokens.end(),
            tokens_.begin() + static_cast<std::ptrdiff_t>(block) * block_tokens_);
  index_.insert(block);
  return block;
}

void PrefixCache::Forget(BlockId block) {
  if (!Remembers(block)) return;
  index_.erase(block);
  contents_[block] = {};
}

absl::Span<const TokenLogprob> PrefixCache::LogprobsOf(BlockId block, int32_t alternatives) const {
  const Content& content = contents_[block];
  if (content.alternatives < alternatives) return {};
  return content.logprobs;
}

void PrefixCache::AddLogprobs(BlockId block, absl::Span<const TokenLogprob> logprobs,
                              int32_t alternatives) {
  Content& content = contents_[block];
  const auto known = std::pair(content.logprobs.size(), content.alternatives);
  if (known >= std::pair(logprobs.size(), alternatives)) return;
  content.logprobs.assign(logprobs.begin(), logprobs.end());
  content.alternatives = alternatives;
}

}  // namespace peerage
