#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer/jinja_lexer.h"

namespace peerage {

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
  bool TakeName(std::string_view text) { return Take(Kind::kName, text); }
  bool TakeOperator(std::string_view text) { return Take(Kind::kOperator, text); }

  // A block tag that begins with this name; the name is passed.
  bool TakeTag(std::string_view name);

  absl::Status Expect(Kind kind, std::string_view text);
  absl::StatusOr<std::string> ExpectName();

  // For loops, which come back to their body.
  size_t position() const { return at_; }
  void ReturnTo(size_t position) { at_ = position; }

 private:
  bool Take(Kind kind, std::string_view text);

  const std::vector<JinjaToken>& tokens_;
  size_t at_ = 0;
};

}  // namespace peerage
