#include "server/log/log_line.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace peerage {
namespace {

// In quotes.
std::string Escaped(absl::string_view text) {
  using Json = nlohmann::json;
  return Json(std::string(text))
      .dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

// Whether a text needs no quotes to be told from what stands around it.
bool IsWord(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isalnum(c) && absl::string_view("._:/+-").find(c) == absl::string_view::npos) {
      return false;
    }
  }
  return !text.empty();
}

std::string Text(const LogField& field, bool words_bare) {
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    return words_bare && IsWord(*text) ? *text : Escaped(*text);
  }
  if (const auto* number = std::get_if<int64_t>(&field.value)) return absl::StrCat(*number);
  return absl::StrFormat("%.6f", absl::ToDoubleSeconds(std::get<absl::Duration>(field.value)));
}

}  // namespace

std::string TextLine(LogLevel level, absl::string_view message,
                     const std::vector<LogField>& fields) {
  const std::string quoted = Escaped(message);
  const absl::string_view escaped = absl::string_view(quoted).substr(1, quoted.size() - 2);
  std::string line = absl::StrCat(ChoiceName(kLogLevels, level), " ", escaped);
  for (const LogField& field : fields) {
    absl::StrAppend(&line, " ", field.key, "=", Text(field, /*words_bare=*/true));
  }
  return line;
}

std::string JsonMembers(LogLevel level, absl::string_view message,
                        const std::vector<LogField>& fields) {
  std::string members = absl::StrCat("\"level\":\"", ChoiceName(kLogLevels, level),
                                     "\",\"message\":", Escaped(message));
  for (const LogField& field : fields) {
    absl::StrAppend(&members, ",\"", field.key, "\":", Text(field, /*words_bare=*/false));
  }
  return members;
}

}  // namespace peerage
