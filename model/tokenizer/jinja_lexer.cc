#include "model/tokenizer/jinja_lexer.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "model/tokenizer/jinja_value.h"

namespace peerage {
namespace {

using Kind = JinjaToken::Kind;

constexpr absl::string_view kSpace = " \t\n\v\f\r";
constexpr std::array<absl::string_view, 5> kTwoCharacterOperators = {"==", "!=", "<=", ">=", "//"};
constexpr absl::string_view kOneCharacterOperators = "+-*/%~<>=.,:|()[]{}";

class Lexer {
 public:
  explicit Lexer(absl::string_view source) : rest_(source) {}

  absl::StatusOr<std::vector<JinjaToken>> Run() {
    while (!rest_.empty()) {
      ReadText();
      if (!rest_.empty()) RETURN_IF_ERROR(ReadTag());
    }
    Add(Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void Add(Kind kind, absl::string_view text) { tokens_.push_back({kind, std::string(text)}); }

  // Up to the next tag or the end.
  void ReadText() {
    size_t length = 0;
    while (length < rest_.size() && !IsTag(rest_.substr(length, 2))) ++length;
    absl::string_view text = rest_.substr(0, length);
    rest_.remove_prefix(length);
    if (absl::StartsWith(rest_.substr(std::min<size_t>(2, rest_.size())), "-")) {
      text = text.substr(0, text.find_last_not_of(kSpace) + 1);
    } else if (StripsIndentation()) {
      const size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
      const bool starts_line = line > 0 || line_starting_;
      const bool blank = text.find_first_not_of(kSpace, line) == absl::string_view::npos;
      if (starts_line && blank) text = text.substr(0, line);
    }
    if (!text.empty()) Add(Kind::kText, text);
  }

  static bool IsTag(absl::string_view two) { return two == "{{" || two == "{%" || two == "{#"; }

  bool StripsIndentation() const {
    return (absl::StartsWith(rest_, "{%") || absl::StartsWith(rest_, "{#")) &&
           rest_.substr(2, 1) != "+";
  }

  absl::Status ReadTag() {
    const char type = rest_[1];
    rest_.remove_prefix(2);
    if (absl::StartsWith(rest_, "-") || absl::StartsWith(rest_, "+")) rest_.remove_prefix(1);
    if (type == '#') return SkipComment();
    const bool print = type == '{';
    Add(print ? Kind::kOpenPrint : Kind::kOpenBlock, "");
    const absl::string_view close = print ? "}}" : "%}";
    while (!Close(close)) {
      if (rest_.empty()) return absl::InvalidArgumentError("chat template: a tag is not closed");
      RETURN_IF_ERROR(ReadToken());
    }
    Add(print ? Kind::kClosePrint : Kind::kCloseBlock, "");
    return absl::OkStatus();
  }

  absl::Status SkipComment() {
    while (!Close("#}")) {
      if (rest_.empty())
        return absl::InvalidArgumentError("chat template: a comment is not closed");
      rest_.remove_prefix(1);
    }
    return absl::OkStatus();
  }

  // Passes the end of a tag and the white space that goes with it.
  bool Close(absl::string_view close) {
    const absl::string_view before = rest_;
    if (absl::ConsumePrefix(&rest_, absl::StrCat("-", close))) {
      rest_.remove_prefix(std::min(rest_.find_first_not_of(kSpace), rest_.size()));
    } else if (absl::ConsumePrefix(&rest_, close)) {
      if (close != "}}") absl::ConsumePrefix(&rest_, "\n");
    } else if (close == "}}" || !absl::ConsumePrefix(&rest_, absl::StrCat("+", close))) {
      return false;
    }
    line_starting_ = absl::EndsWith(before.substr(0, before.size() - rest_.size()), "\n");
    return true;
  }

  absl::Status ReadToken() {
    const char first = rest_[0];
    if (kSpace.find(first) != absl::string_view::npos) {
      rest_.remove_prefix(1);
      return absl::OkStatus();
    }
    if (first == '\'' || first == '"') return ReadString();
    if (absl::ascii_isdigit(first)) return ReadWhile(Kind::kInteger, absl::ascii_isdigit);
    if (absl::ascii_isalpha(first) || first == '_') {
      return ReadWhile(Kind::kName,
                       [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_'; });
    }
    return ReadOperator();
  }

  absl::Status ReadWhile(Kind kind, bool (*belongs)(unsigned char)) {
    size_t length = 0;
    while (length < rest_.size() && belongs(rest_[length])) ++length;
    Add(kind, rest_.substr(0, length));
    rest_.remove_prefix(length);
    return absl::OkStatus();
  }

  absl::Status ReadOperator() {
    for (absl::string_view known : kTwoCharacterOperators) {
      if (!absl::ConsumePrefix(&rest_, known)) continue;
      Add(Kind::kOperator, known);
      return absl::OkStatus();
    }
    if (kOneCharacterOperators.find(rest_[0]) == absl::string_view::npos) {
      return absl::UnimplementedError(
          absl::StrCat("chat template: character \"", rest_.substr(0, 1), "\" in a tag"));
    }
    Add(Kind::kOperator, rest_.substr(0, 1));
    rest_.remove_prefix(1);
    return absl::OkStatus();
  }

  absl::Status ReadString() {
    const char quote = rest_[0];
    std::string value;
    size_t at = 1;
    while (at < rest_.size() && rest_[at] != quote) {
      if (rest_[at] != '\\') {
        value.push_back(rest_[at++]);
        continue;
      }
      constexpr absl::string_view kEscapes = "ntr\\'\"";
      constexpr absl::string_view kMeanings = "\n\t\r\\'\"";
      const size_t escape =
          at + 1 < rest_.size() ? kEscapes.find(rest_[at + 1]) : absl::string_view::npos;
      if (escape == absl::string_view::npos) {
        return absl::UnimplementedError("chat template: an escape in a string");
      }
      value.push_back(kMeanings[escape]);
      at += 2;
    }
    if (at == rest_.size()) {
      return absl::InvalidArgumentError("chat template: a string is not closed");
    }
    Add(Kind::kString, value);
    rest_.remove_prefix(at + 1);
    return absl::OkStatus();
  }

  absl::string_view rest_;
  bool line_starting_ = true;
  std::vector<JinjaToken> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<JinjaToken>> ReadJinjaTokens(absl::string_view source) {
  const std::string normalised = absl::StrReplaceAll(source, {{"\r\n", "\n"}, {"\r", "\n"}});
  absl::string_view text = normalised;
  absl::ConsumeSuffix(&text, "\n");
  return Lexer(text).Run();
}

bool JinjaCursor::Take(Kind kind, absl::string_view text) {
  if (Peek().kind != kind || Peek().text != text) return false;
  Advance();
  return true;
}

bool JinjaCursor::TakeTag(absl::string_view name) {
  if (Peek().kind != Kind::kOpenBlock || PeekNext().kind != Kind::kName ||
      PeekNext().text != name) {
    return false;
  }
  at_ += 2;
  return true;
}

absl::Status JinjaCursor::Expect(Kind kind, absl::string_view text) {
  if (Take(kind, text)) return absl::OkStatus();
  return UnsupportedInJinja(absl::StrCat("\"", Peek().text, "\" where \"", text, "\" is expected"));
}

absl::StatusOr<std::string> JinjaCursor::ExpectName() {
  if (Peek().kind != Kind::kName) return UnsupportedInJinja("no name where one is expected");
  return tokens_[at_++].text;
}

}  // namespace peerage
