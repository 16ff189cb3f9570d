#pragma once

#include <cstddef>
#include <optional>

#include "absl/strings/string_view.h"

namespace peerage {

// How a text that should be UTF-8 begins.
struct Utf8Prefix {
  enum class Kind {
    kCodePoint,   // a whole code point
    kUnfinished,  // the text ends inside what may still become one
    kInvalid,     // bytes that no continuation makes valid
  };
  Kind kind;
  // Bytes of the code point, or of the maximal invalid or unfinished part (Unicode 15, section 3.9,
  // table 3-7 and "U+FFFD substitution of maximal subparts"): 1 to 4.
  int length;
  char32_t code_point = 0;  // of kCodePoint
};

// Precondition: `text` is not empty.
Utf8Prefix ReadUtf8(absl::string_view text);

// Surrogates, overlong forms and code points above U+10FFFF are invalid.
bool IsValidUtf8(absl::string_view text);

// Where the first byte stands that belongs to no code point; none when the text is valid.
std::optional<size_t> FindInvalidUtf8(absl::string_view text);

}  // namespace peerage
