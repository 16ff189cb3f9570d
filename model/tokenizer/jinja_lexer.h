#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

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
absl::StatusOr<std::vector<JinjaToken>> ReadJinjaTokens(absl::string_view source);

// Where a parser is in the tokens of a template, which outlive it and end with kEnd.
class JinjaCursor {
 public:
  using Kind = JinjaToken::Kind;

  explicit JinjaCursor(const std::vector<JinjaToken>& tokens) : tokens_(tokens) {}

  const JinjaToken& Peek() const { return tokens_[at_]; }
  // Precondition: this token is not the last.
  const JinjaToken& PeekNext() const { return tokens_[at_ + 1]; }
  void Advance() { ++at_; }

  // A name or operator with this text; it is passed when it is there.
  bool TakeName(absl::string_view text) { return Take(Kind::kName, text); }
  bool TakeOperator(absl::string_view text) { return Take(Kind::kOperator, text); }

  // A block tag that begins with this name; the name is passed.
  bool TakeTag(absl::string_view name);

  absl::Status Expect(Kind kind, absl::string_view text);
  absl::StatusOr<std::string> ExpectName();

  // For loops, which come back to their body.
  size_t position() const { return at_; }
  void ReturnTo(size_t position) { at_ = position; }

 private:
  bool Take(Kind kind, absl::string_view text);

  const std::vector<JinjaToken>& tokens_;
  size_t at_ = 0;
};

}  // namespace peerage
