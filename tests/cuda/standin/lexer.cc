#include "lexer.h"

#include <cctype>
#include <cstdlib>

#include "program.h"

namespace ptx {
namespace {

bool IsName(char c) {
  return std::isalnum(static_cast<u8>(c)) != 0 || c == '_' || c == '$' || c == '%' || c == '.';
}

}  // namespace

std::string_view Lexer::Next() {
  SkipSpace();
  if (at_ >= text_.size()) return {};
  const size_t begin = at_;
  if (text_[at_] == '"') {
    const size_t end = text_.find('"', at_ + 1);
    if (end == std::string_view::npos) Fail("a string without an end");
    at_ = end + 1;
  } else if (IsName(text_[at_])) {
    while (at_ < text_.size() && (IsName(text_[at_]) || text_.substr(at_, 2) == "::")) {
      at_ += text_[at_] == ':' ? 2 : 1;
    }
  } else {
    ++at_;
  }
  return text_.substr(begin, at_ - begin);
}

bool Lexer::Take(std::string_view word) {
  Lexer ahead = *this;
  if (ahead.Next() != word) return false;
  *this = ahead;
  return true;
}

void Lexer::Expect(std::string_view word) {
  const std::string_view got = Next();
  if (got != word) Fail("expected " + std::string(word) + ", found " + std::string(got));
}

void Lexer::SkipPast(char c) {
  while (at_ < text_.size() && text_[at_] != c) line_ += text_[at_++] == '\n';
  if (at_ < text_.size()) line_ += text_[at_++] == '\n';
}

void Lexer::SkipBlock() {
  for (int depth = 1; depth > 0;) {
    SkipSpace();
    if (at_ >= text_.size()) Fail("unexpected end");
    const char c = text_[at_++];
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
  }
}

u64 Lexer::Number() {
  const bool minus = Take("-");
  const u64 value = NumberOf(*this, Next());
  return minus ? 0 - value : value;
}

void Lexer::Fail(const std::string& what) const {
  throw Error("PTX line " + std::to_string(line_) + ": " + what);
}

std::string Lexer::Slice(size_t begin) const {
  std::string text;
  for (const char c : text_.substr(begin, at_ - begin)) {
    if (std::isspace(static_cast<u8>(c)) == 0) {
      text += c;
    } else if (!text.empty() && text.back() != ' ') {
      text += ' ';
    }
  }
  return text;
}

void Lexer::SkipSpace() {
  for (;;) {
    while (at_ < text_.size() && std::isspace(static_cast<u8>(text_[at_])) != 0) {
      line_ += text_[at_++] == '\n';
    }
    if (text_.substr(at_, 2) == "//") {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    } else if (text_.substr(at_, 2) == "/*") {
      const size_t end = text_.find("*/", at_ + 2);
      if (end == std::string_view::npos) Fail("a comment without an end");
      while (at_ < end + 2) line_ += text_[at_++] == '\n';
    } else {
      return;
    }
  }
}

u64 NumberOf(const Lexer& in, std::string_view word) {
  std::string digits(word);
  int base = 0;
  const char second = digits.size() > 2 ? static_cast<char>(std::tolower(digits[1])) : '\0';
  if (digits[0] == '0' && (second == 'f' || second == 'd')) {
    digits.erase(0, 2);
    base = 16;
  } else if (digits.size() > 1 && digits.back() == 'U') {
    digits.pop_back();
  }
  char* end = nullptr;
  const u64 value = std::strtoull(digits.c_str(), &end, base);
  if (digits.empty() || *end != '\0') in.Fail("not a number: " + std::string(word));
  return value;
}

}  // namespace ptx
