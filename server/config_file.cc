#include "server/config_file.h"

#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error_text.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

// Takes a quoted string off the front of `rest`.
absl::StatusOr<std::string> TakeString(absl::string_view* rest) {
  const char quote = rest->front();
  std::string content;
  for (size_t i = 1; i < rest->size(); ++i) {
    char c = (*rest)[i];
    if (c == quote) {
      rest->remove_prefix(i + 1);
      return content;
    }
    if (c == '\\' && quote == '"') {
      c = ++i < rest->size() ? (*rest)[i] : '\0';
      if (c != '"' && c != '\\') {
        return absl::InvalidArgumentError("only \\\" and \\\\ are known escapes");
      }
    }
    content += c;
  }
  return absl::InvalidArgumentError("the string does not end on its line");
}

// Takes a number or a boolean off the front of `rest`.
absl::StatusOr<std::string> TakeBare(absl::string_view* rest) {
  const absl::string_view word = rest->substr(0, rest->find_first_of(" \t#"));
  const bool number = !word.empty() && word.find_first_not_of("0123456789.+-eE_") == word.npos;
  if (!number && word != "true" && word != "false") {
    return absl::InvalidArgumentError(
        absl::StrCat("'", word, "' is not a string in quotes, a number or a boolean"));
  }
  rest->remove_prefix(word.size());
  return std::string(word);
}

absl::StatusOr<ConfigFileEntry> ParseLine(absl::string_view line) {
  const size_t equals = line.find('=');
  const absl::string_view key = absl::StripAsciiWhitespace(line.substr(0, equals));
  const bool bare_key = !key.empty() && key.find_first_not_of(
                                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789_-") == absl::string_view::npos;
  if (equals == absl::string_view::npos || !bare_key) {
    return absl::InvalidArgumentError("expected `key = value`");
  }
  absl::string_view rest = absl::StripAsciiWhitespace(line.substr(equals + 1));
  const bool quoted = !rest.empty() && (rest.front() == '"' || rest.front() == '\'');
  ASSIGN_OR_RETURN(std::string value, quoted ? TakeString(&rest) : TakeBare(&rest));
  rest = absl::StripLeadingAsciiWhitespace(rest);
  if (!rest.empty() && rest.front() != '#') {
    return absl::InvalidArgumentError(absl::StrCat("'", rest, "' follows the value"));
  }
  return ConfigFileEntry{std::string(key), std::move(value)};
}

}  // namespace

absl::StatusOr<std::vector<ConfigFileEntry>> ParseConfigFile(absl::string_view text) {
  std::vector<ConfigFileEntry> entries;
  std::set<std::string> keys;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    absl::StatusOr<ConfigFileEntry> entry = ParseLine(line);
    if (!entry.ok()) return At(absl::StrCat("line ", number), entry.status());
    entry->line = number;
    if (!keys.insert(entry->key).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": duplicate key '", entry->key, "'"));
    }
    entries.push_back(*std::move(entry));
  }
  return entries;
}

std::string QuoteToml(absl::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace peerage
