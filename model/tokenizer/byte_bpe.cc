#include "model/tokenizer/byte_bpe.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"

namespace peerage {
namespace {

uint64_t PairKey(TokenId left, TokenId right) { return uint64_t{left} << 32 | right; }

// "Later" orders std::push_heap's maximum to be the candidate that merges first.
struct Later {
  template <typename Candidate>
  bool operator()(const Candidate& a, const Candidate& b) const {
    return std::pair(a.rank, a.left) > std::pair(b.rank, b.left);
  }
};

}  // namespace

ByteBpe::ByteBpe(Options options)
    : byte_tokens_(options.byte_tokens), whole_words_(std::move(options.whole_words)) {
  if (options.unknown.has_value()) {
    for (std::optional<TokenId>& token : byte_tokens_) token = token.value_or(*options.unknown);
  }
  merges_.reserve(options.merges.size());
  uint32_t rank = 0;
  for (const Merge& merge : options.merges) {
    merges_.try_emplace(PairKey(merge.left, merge.right), RankedMerge{rank++, merge.result});
  }
}

const ByteBpe::RankedMerge* ByteBpe::Find(TokenId left, TokenId right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BpeEncoder::Append(absl::string_view word) {
  if (const auto whole = bpe_.whole_words_.find(absl::string_view(word.data(), word.size()));
      whole != bpe_.whole_words_.end()) {
    tokens_.push_back(whole->second);
    return;
  }
  StartWord(word);
  MergeAll();
  for (const Symbol& symbol : symbols_) {
    if (!symbol.merged_away) tokens_.push_back(symbol.token);
  }
}

void BpeEncoder::StartWord(absl::string_view word) {
  symbols_.clear();
  for (const char c : word) {
    const std::optional<TokenId> token = bpe_.byte_tokens_[static_cast<uint8_t>(c)];
    if (!token.has_value()) continue;
    const int index = static_cast<int>(symbols_.size());
    symbols_.push_back({*token, index - 1, index + 1});
  }
  if (!symbols_.empty()) symbols_.back().next = -1;
}

void BpeEncoder::MergeAll() {
  queue_.clear();
  for (int i = 0; i < static_cast<int>(symbols_.size()); ++i) Consider(i);
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), Later());
    const Candidate best = queue_.back();
    queue_.pop_back();
    if (IsStale(best)) continue;

    Symbol& left = symbols_[best.left];
    Symbol& right = symbols_[left.next];
    left.token = best.result;
    left.next = right.next;
    right.merged_away = true;
    if (left.next >= 0) symbols_[left.next].previous = best.left;
    if (left.previous >= 0) Consider(left.previous);
    Consider(best.left);
  }
}

void BpeEncoder::Consider(int left) {
  const Symbol& symbol = symbols_[left];
  if (symbol.next < 0) return;
  const auto* merge = bpe_.Find(symbol.token, symbols_[symbol.next].token);
  if (merge == nullptr) return;
  queue_.push_back({merge->rank, left, merge->result});
  std::push_heap(queue_.begin(), queue_.end(), Later());
}

// One of the two symbols has merged with another since.
bool BpeEncoder::IsStale(const Candidate& candidate) const {
  const Symbol& left = symbols_[candidate.left];
  if (left.merged_away || left.next < 0) return true;
  const auto* merge = bpe_.Find(left.token, symbols_[left.next].token);
  return merge == nullptr || merge->rank != candidate.rank;
}

}  // namespace peerage
