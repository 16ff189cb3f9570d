#pragma once

#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/pattern.h"

namespace peerage {

// What a split does with the matches of its pattern (the names are Hugging Face's).
enum class SplitBehavior {
  kIsolated,            // a match is a piece of its own
  kRemoved,             // and is dropped
  kMergedWithPrevious,  // it ends the piece before it
  kMergedWithNext,      // it begins the piece after it
  kContiguous,          // adjacent matches become one piece
};

// One pass over the pieces of a text: each is split further, alone.
struct PreTokenizerStep {
  bool add_prefix_space = false;  // a piece that begins otherwise gets a space before the split
  std::shared_ptr<const Pattern> pattern = nullptr;  // null: pieces stay whole
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // what lies between matches is treated as the matches
};

// Cuts text into the words that are merged separately: Hugging Face's pre-tokenizers ByteLevel,
// Split, Digits and Sequence, with the bytes left as they are.
//
// Threads: immutable; safe from many threads.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  // Tells of the words in order, as they are found, until `visit` returns false: the rest is not
  // looked at. No word is empty, and each is there until its `visit` returns.
  // INVALID_ARGUMENT when a pattern exceeds the limit on backtracking.
  // Precondition: `text` is valid UTF-8.
  absl::Status ForEachWord(absl::string_view text,
                           absl::FunctionRef<bool(absl::string_view word)> visit) const;

 private:
  std::vector<PreTokenizerStep> steps_;
};

// GPT-2's pre-tokenizer: contractions, letters, numbers, other characters, white space.
PreTokenizerStep ByteLevelStep(bool add_prefix_space, bool use_regex);

// Numbers apart from everything else; `individual`: each digit alone.
PreTokenizerStep DigitsStep(bool individual);

}  // namespace peerage
