#include "model/tokenizer/jinja_lexer.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "model/tokenizer/text.h"

namespace peerage {
namespace {

using Kind = JinjaToken::Kind;

constexpr std::string_view kSpace = " \t\n\v\f\r";
constexpr std::array<std::string_view, 5> kTwoCharacterOperators = {"==", "!=", "<=", ">=", "//"};
constexpr std::string_view kOneCharacterOperators = "+-*/%~<>=.,:|()[]{}";

class Lexer {
 public:
  explicit Lexer(std::string_view source) : rest_(source) {}

  absl::StatusOr<std::vector<JinjaToken>> Run() {
    while (!rest_.empty()) {
      ReadText();
      if (!rest_.empty()) RETURN_IF_ERROR(ReadTag());
    }
    Add(Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void Add(Kind kind, std::string_view text) { tokens_.push_back({kind, std::string(text)}); }

  // Up to the next tag or the end.
  void ReadText() {
    size_t length = 0;
    while (length < rest_.size() && !IsTag(rest_.substr(length, 2))) ++length;
    std::string_view text = rest_.substr(0, length);
    rest_.remove_prefix(length);
    if (rest_.substr(std::min<size_t>(2, rest_.size())).starts_with("-")) {
      text = text.substr(0, text.find_last_not_of(kSpace) + 1);
    } else if (StripsIndentation()) {
      const size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
      const bool starts_line = line > 0 || line_starting_;
      const bool blank = text.find_first_not_of(kSpace, line) == std::string_view::npos;
      if (starts_line && blank) text = text.substr(0, line);
    }
    if (!text.empty()) Add(Kind::kText, text);
  }

  static bool IsTag(std::string_view two) { return two == "{{" || two == "{%" || two == "{#"; }

  bool StripsIndentation() const {
    return (rest_.starts_with("{%") || rest_.starts_with("{#")) && rest_.substr(2, 1) != "+";
  }

  absl::Status ReadTag() {
    const char type = rest_[1];
    rest_.remove_prefix(2);
    if (rest_.starts_with("-") || rest_.starts_with("+")) rest_.remove_prefix(1);
    if (type == '#') return SkipComment();
    const bool print = type == '{';
    Add(print ? Kind::kOpenPrint : Kind::kOpenBlock, "");
    const std::string_view close = print ? "}}" : "%}";
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
  bool Close(std::string_view close) {
    const std::string_view before = rest_;
    if (ConsumePrefix(rest_, Concat("-", close))) {
      rest_.remove_prefix(std::min(rest_.find_first_not_of(kSpace), rest_.size()));
    } else if (ConsumePrefix(rest_, close)) {
      if (close != "}}") ConsumePrefix(rest_, "\n");
    } else if (close == "}}" || !ConsumePrefix(rest_, Concat("+", close))) {
      return false;
    }
    line_starting_ = before.substr(0, before.size() - rest_.size()).ends_with("\n");
    return true;
  }

  absl::Status ReadToken() {
    const char first = rest_[0];
    if (kSpace.find(first) != std::string_view::npos) {
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
    for (std::string_view known : kTwoCharacterOperators) {
      if (!ConsumePrefix(rest_, known)) continue;
      Add(Kind::kOperator, known);
      return absl::OkStatus();
    }
    if (kOneCharacterOperators.find(rest_[0]) == std::string_view::npos) {
      return absl::UnimplementedError(
          Concat("chat template: character \"", rest_.substr(0, 1), "\" in a tag"));
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
      constexpr std::string_view kEscapes = "ntr\\'\"";
      constexpr std::string_view kMeanings = "\n\t\r\\'\"";
      const size_t escape =
          at + 1 < rest_.size() ? kEscapes.find(rest_[at + 1]) : std::string_view::npos;
      if (escape == std::string_view::npos) {
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

  std::string_view rest_;
  bool line_starting_ = true;
  std::vector<JinjaToken> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<JinjaToken>> ReadJinjaTokens(std::string_view source) {
  const std::string normalised =
      absl::StrReplaceAll(std::string(source), {{"\r\n", "\n"}, {"\r", "\n"}});
  std::string_view text = normalised;
  ConsumeSuffix(text, "\n");
  return Lexer(text).Run();
}

}  // namespace peerage
