// Words of PTX text.
#pragma once

#include <string>
#include <string_view>

#include "memory.h"

namespace ptx {

// Names, numbers, strings, and single signs. The text must outlive the lexer and its words.
class Lexer {
 public:
  explicit Lexer(std::string_view text, size_t at = 0, int line = 1)
      : text_(text), at_(at), line_(line) {}

  std::string_view Next();  // empty at the end
  std::string_view Peek() const { return Lexer(*this).Next(); }
  bool Take(std::string_view word);  // when it is the next
  void Expect(std::string_view word);
  void SkipPast(char c);
  void SkipBlock();  // after its '{', past its '}'
  u64 Number();      // with a sign, in any base
  [[noreturn]] void Fail(const std::string& what) const;

  size_t at() const { return at_; }
  int line() const { return line_; }
  // From `begin` to here, in one line.
  std::string Slice(size_t begin) const;

 private:
  void SkipSpace();

  std::string_view text_;
  size_t at_;
  int line_;
};

// Of a number's word: decimal, hexadecimal, 0f and 0d bits, a trailing U.
u64 NumberOf(const Lexer& in, std::string_view word);

}  // namespace ptx
