#include "model/tokenizer/oniguruma_dialect.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

// General categories mean the same in both; script names do not (PCRE2 reads them as extensions).
constexpr std::array<absl::string_view, 37> kCategories = {
    "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
    "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
    "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};

constexpr std::array<absl::string_view, 7> kGroups = {
    "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};

constexpr absl::string_view kSameEscapes = "rntfdD";

class Translator {
 public:
  explicit Translator(absl::string_view expression) : whole_(expression), rest_(expression) {}

  absl::StatusOr<std::string> Run() {
    while (!rest_.empty()) RETURN_IF_ERROR(Step());
    return std::move(out_);
  }

 private:
  absl::Status Step() {
    switch (rest_[0]) {
      case '\\':
        return Escape();
      case '[':
        if (in_class_) return Refuse("a class inside a class");
        in_class_ = true;
        Copy(absl::StartsWith(rest_, "[^") ? 2 : 1);
        if (absl::StartsWith(rest_, "]")) return Refuse("\"]\" first in a class");
        return absl::OkStatus();
      case ']':
        in_class_ = false;
        break;
      case '&':
        if (in_class_ && absl::StartsWith(rest_, "&&")) return Refuse("\"&&\" in a class");
        break;
      case '(':
        if (!in_class_) return Group();
        break;
      case '{':
        if (absl::StartsWith(rest_, "{,")) return Refuse("\"{,n}\"");
        break;
      case '}':
        // Oniguruma reads {n}+ as a repeated repetition, PCRE2 as a possessive one.
        if (!in_class_ && absl::StartsWith(rest_, "}+")) return Refuse("\"}+\"");
        break;
      default:
        break;
    }
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status Group() {
    if (!absl::StartsWith(rest_, "(?")) {
      Copy(1);
      return absl::OkStatus();
    }
    for (absl::string_view group : kGroups) {
      if (absl::StartsWith(rest_, group)) {
        Copy(group.size());
        return absl::OkStatus();
      }
    }
    return Refuse(absl::StrCat("group \"", rest_.substr(0, 4), "\""));
  }

  absl::Status Escape() {
    if (rest_.size() < 2) return Refuse("a backslash at the end");
    const unsigned char escaped = rest_[1];
    if (escaped == 'p' || escaped == 'P') return Property();
    if (escaped == 's' || escaped == 'S') {
      // PCRE2's own \s adds U+180E.
      out_ += escaped == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      rest_.remove_prefix(2);
      return absl::OkStatus();
    }
    const bool punctuation = escaped < 0x80 && !absl::ascii_isalnum(escaped);
    if (!punctuation && kSameEscapes.find(escaped) == absl::string_view::npos) {
      return Refuse(absl::StrCat("\"", rest_.substr(0, 2), "\""));
    }
    Copy(2);
    return absl::OkStatus();
  }

  absl::Status Property() {
    const size_t close = rest_.find('}');
    if (rest_.substr(2, 1) != "{" || close == absl::string_view::npos) {
      return Refuse(absl::StrCat("\"", rest_.substr(0, 3), "\""));
    }
    const absl::string_view name = rest_.substr(3, close - 3);
    if (std::find(kCategories.begin(), kCategories.end(), name) == kCategories.end()) {
      return Refuse(absl::StrCat("property \"", name, "\""));
    }
    Copy(close + 1);
    return absl::OkStatus();
  }

  void Copy(size_t length) {
    absl::StrAppend(&out_, rest_.substr(0, length));
    rest_.remove_prefix(length);
  }

  absl::Status Refuse(absl::string_view what) const {
    return absl::UnimplementedError(
        absl::StrCat("pattern \"", whole_, "\": ", what, " is not supported"));
  }

  const absl::string_view whole_;
  absl::string_view rest_;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> TranslateOniguruma(absl::string_view expression) {
  return Translator(expression).Run();
}

}  // namespace peerage
