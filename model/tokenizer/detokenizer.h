#pragma once

#include <string>

#include "absl/types/span.h"
#include "model/token.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage {

// Turns tokens into valid UTF-8 as they come: text is held back while it ends inside a code point.
// Bytes that cannot begin or continue a code point become U+FFFD, one for each maximal invalid part
// (Unicode 3.9, the practice of the WHATWG decoder). Special tokens leave no text unless asked.
//
// Threads: none. Copyable: a forked sequence continues its own way.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer* tokenizer, bool include_special_tokens = false)
      : tokenizer_(tokenizer), include_special_tokens_(include_special_tokens) {}

  // The text that becomes certain with this token; may be empty.
  std::string Append(TokenId token);

  // What was held back, as U+FFFD.
  std::string Flush();

 private:
  const Tokenizer* tokenizer_;
  bool include_special_tokens_;
  std::string pending_;  // an unfinished code point, at most 3 bytes
};

// All at once.
std::string Detokenize(const Tokenizer& tokenizer, absl::Span<const TokenId> tokens,
                       bool include_special_tokens);

}  // namespace peerage
