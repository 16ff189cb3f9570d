#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "model/token.h"
#include "model/tokenizer/pattern.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage {

// A token that is found in the text as it is written, before any merging.
struct AddedToken {
  TokenId id;
  std::string content;       // never empty
  bool special = false;      // stays text where special tokens are not recognised
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = false;   // looked for after the tokens that are not, in what they left
};

// A stretch of text, or an added token found in it.
struct TextSegment {
  absl::string_view text;
  std::optional<TokenId> token;
};

// Finds added tokens in text as Hugging Face tokenizers does (without a normalizer): leftmost
// first, the longest of those that begin at one place.
//
// Threads: immutable; safe from many threads.
class AddedTokens {
 public:
  // Precondition: no two tokens have the same content.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  using Visit = absl::FunctionRef<bool(const TextSegment& segment)>;

  // Tells of the segments in order, as they are found, until `visit` returns false: the rest is not
  // looked at. Segments of text are never empty. Cost: O(bytes x longest added token).
  // Precondition: `text` is valid UTF-8.
  void ForEachSegment(absl::string_view text, SpecialTokens special, Visit visit) const;

 private:
  // The contents of one group of tokens, byte by byte; node 0 is the root.
  struct Trie {
    absl::flat_hash_map<uint64_t, int> children;  // by node << 8 | byte
    std::vector<int> token_of_node = {-1};        // index into tokens_
    std::bitset<256> first_bytes;
  };

  static void Insert(Trie& trie, absl::string_view content, int token);
  static int LongestAt(const Trie& trie, absl::string_view text);
  // False when `visit` wants no more.
  bool SplitBy(const Trie& trie, absl::string_view text, SpecialTokens special, Visit visit) const;
  bool StandsAlone(absl::string_view text, TextRange match) const;

  std::vector<AddedToken> tokens_;
  Trie raw_;
  Trie normalized_;
};

}  // namespace peerage
