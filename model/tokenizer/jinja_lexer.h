#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace peerage {

// A piece of a Jinja template.
struct JinjaToken {
  enum class Kind {
    kText,        // outside of tags; `text` is what is printed
    kOpenPrint,   // {{
    kClosePrint,  // }}
    kOpenBlock,   // {%
    kCloseBlock,  // %}
    kName,
    kString,  // `text` is the value
    kInteger,
    kOperator,
    kEnd,  // always last
  };
  Kind kind;
  std::string text;
};

// Cuts a template into tokens with white space controlled as transformers' apply_chat_template sets
// Jinja up (trim_blocks, lstrip_blocks). Comments are dropped. INVALID_ARGUMENT for an open tag or
// string, UNIMPLEMENTED for characters and escapes outside the subset of jinja.h.
absl::StatusOr<std::vector<JinjaToken>> ReadJinjaTokens(std::string_view source);

}  // namespace peerage
