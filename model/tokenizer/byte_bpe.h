#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "model/token.h"

namespace peerage {

// Two neighbouring tokens that become one. The position in the list of merges is the rank; the
// lowest rank merges first.
struct Merge {
  TokenId left;
  TokenId right;
  TokenId result;
};

// Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909, section 3.2) over bytes (GPT-2).
//
// Threads: immutable; safe from many threads, each with its own BpeEncoder.
class ByteBpe {
 public:
  struct Options {
    std::array<std::optional<TokenId>, 256> byte_tokens;
    std::vector<Merge> merges;  // by rank; each pair once
    // Stands for a byte that has no token; without it such bytes leave nothing.
    std::optional<TokenId> unknown;
    // Words that are tokens as they stand, whatever the merges say (Hugging Face: ignore_merges).
    absl::flat_hash_map<std::string, TokenId> whole_words;
  };

  explicit ByteBpe(Options options);

 private:
  friend class BpeEncoder;
  struct RankedMerge {
    uint32_t rank;
    TokenId result;
  };

  const RankedMerge* Find(TokenId left, TokenId right) const;

  std::array<std::optional<TokenId>, 256> byte_tokens_;
  absl::flat_hash_map<std::string, TokenId> whole_words_;
  absl::flat_hash_map<uint64_t, RankedMerge> merges_;  // by left << 32 | right
};

// Encodes the words of one text, one after the other.
//
// Threads: none. Cost of a word of n bytes: O(n log n).
class BpeEncoder {
 public:
  // Precondition: the BPE outlives the encoder.
  explicit BpeEncoder(const ByteBpe& bpe) : bpe_(bpe) {}

  void Append(absl::string_view word);
  void Append(TokenId token) { tokens_.push_back(token); }

  // Tokens so far.
  size_t size() const { return tokens_.size(); }

  // All tokens so far; the encoder is empty afterwards.
  std::vector<TokenId> Take() { return std::move(tokens_); }

 private:
  // A token of the word under work, linked to its neighbours; -1 ends the list.
  struct Symbol {
    TokenId token;
    int previous;
    int next;
    bool merged_away = false;
  };
  struct Candidate {
    uint32_t rank;
    int left;  // symbol
    TokenId result;
  };

  void StartWord(absl::string_view word);
  void MergeAll();
  void Consider(int left);  // the symbol and its right neighbour
  bool IsStale(const Candidate& candidate) const;

  const ByteBpe& bpe_;
  std::vector<TokenId> tokens_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> queue_;  // heap: lowest rank first, then leftmost
};

}  // namespace peerage
