#include "model/tokenizer/oniguruma_dialect.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/status_macros.h"
#include "model/tokenizer/text.h"

namespace peerage {
namespace {

// General categories mean the same in both; script names do not (PCRE2 reads them as extensions).
constexpr std::array<std::string_view, 37> kCategories = {
    "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
    "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
    "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};

constexpr std::array<std::string_view, 7> kGroups = {
    "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};

constexpr std::string_view kSameEscapes = "rntfdD";

class Translator {
 public:
  explicit Translator(std::string_view expression) : whole_(expression), rest_(expression) {}

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
        Copy(rest_.starts_with("[^") ? 2 : 1);
        if (rest_.starts_with("]")) return Refuse("\"]\" first in a class");
        return absl::OkStatus();
      case ']':
        in_class_ = false;
        break;
      case '&':
        if (in_class_ && rest_.starts_with("&&")) return Refuse("\"&&\" in a class");
        break;
      case '(':
        if (!in_class_) return Group();
        break;
      case '{':
        if (rest_.starts_with("{,")) return Refuse("\"{,n}\"");
        break;
      case '}':
        // Oniguruma reads {n}+ as a repeated repetition, PCRE2 as a possessive one.
        if (!in_class_ && rest_.starts_with("}+")) return Refuse("\"}+\"");
        break;
      default:
        break;
    }
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status Group() {
    if (!rest_.starts_with("(?")) {
      Copy(1);
      return absl::OkStatus();
    }
    for (std::string_view group : kGroups) {
      if (rest_.starts_with(group)) {
        Copy(group.size());
        return absl::OkStatus();
      }
    }
    return Refuse(Concat("group \"", rest_.substr(0, 4), "\""));
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
    if (!punctuation && kSameEscapes.find(escaped) == std::string_view::npos) {
      return Refuse(Concat("\"", rest_.substr(0, 2), "\""));
    }
    Copy(2);
    return absl::OkStatus();
  }

  absl::Status Property() {
    const size_t close = rest_.find('}');
    if (rest_.substr(2, 1) != "{" || close == std::string_view::npos) {
      return Refuse(Concat("\"", rest_.substr(0, 3), "\""));
    }
    const std::string_view name = rest_.substr(3, close - 3);
    if (std::find(kCategories.begin(), kCategories.end(), name) == kCategories.end()) {
      return Refuse(Concat("property \"", name, "\""));
    }
    Copy(close + 1);
    return absl::OkStatus();
  }

  void Copy(size_t length) {
    out_.append(rest_.substr(0, length));
    rest_.remove_prefix(length);
  }

  absl::Status Refuse(std::string_view what) const {
    return absl::UnimplementedError(
        Concat("pattern \"", whole_, "\": ", what, " is not supported"));
  }

  const std::string_view whole_;
  std::string_view rest_;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> TranslateOniguruma(std::string_view expression) {
  return Translator(expression).Run();
}

}  // namespace peerage
