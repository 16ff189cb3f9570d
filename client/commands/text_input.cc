#include "client/commands/text_input.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/command_line/options.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "base/utf8.h"

namespace peerage::client {
namespace {

absl::Status Unreadable(const std::string& place) {
  return absl::InvalidArgumentError(absl::StrCat(place, " cannot be read: ", std::strerror(errno)));
}

absl::StatusOr<std::string> ReadBytes(const std::string& place, const std::string& path) {
  const bool is_input = path == "-";
  const int file = is_input ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return Unreadable(place);
  std::string bytes;
  std::array<char, 1 << 16> buffer;
  ssize_t got = 0;
  while ((got = read(file, buffer.data(), buffer.size())) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    bytes.append(buffer.data(), got);
  }
  const absl::Status failure = got < 0 ? Unreadable(place) : absl::OkStatus();
  if (!is_input) close(file);
  if (!failure.ok()) return failure;
  return bytes;
}

// "--file (a.txt)", "prompt (standard input)".
std::string Place(const std::string& option, const std::string& path) {
  return absl::StrCat(option, " (", path == "-" ? "standard input" : path, ")");
}

bool IsJsonl(const std::string& path, const std::string& format, absl::string_view first_line) {
  if (format != "auto") return format == "jsonl";
  if (absl::EndsWith(path, ".jsonl")) return true;
  if (!absl::StartsWith(first_line, "{")) return false;
  const auto json = ParseStrictJson(first_line);
  return json.ok() && json->is_object();
}

}  // namespace

absl::StatusOr<std::string> ReadText(const std::string& option, const std::string& path) {
  const std::string place = Place(option, path);
  ASSIGN_OR_RETURN(std::string text, ReadBytes(place, path));
  const std::optional<size_t> bad = FindInvalidUtf8(text);
  if (!bad) return text;
  const auto line = 1 + std::count(text.begin(), text.begin() + *bad, '\n');
  return absl::InvalidArgumentError(
      absl::StrCat(place, ": byte ", *bad, " (line ", line, ") is not UTF-8"));
}

absl::StatusOr<std::vector<uint32_t>> ReadIds(const std::string& option, const std::string& given) {
  std::string text = given;
  if (given.empty() || !(absl::ascii_isdigit(given[0]) || given[0] == '[')) {
    ASSIGN_OR_RETURN(text, ReadText(option, given));
  }
  std::vector<uint32_t> ids;
  for (absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(", \t\r\n[]"), absl::SkipEmpty())) {
    ASSIGN_OR_RETURN(const uint32_t id, ParseNumber<uint32_t>("a token id of " + option, word));
    ids.push_back(id);
  }
  if (ids.empty()) return absl::InvalidArgumentError(option + " has no token ids");
  return ids;
}

absl::StatusOr<std::vector<InputLine>> ReadLines(const std::string& option, const std::string& path,
                                                 const std::string& format) {
  ASSIGN_OR_RETURN(const std::string text, ReadText(option, path));
  std::vector<InputLine> lines;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    absl::ConsumeSuffix(&line, "\r");
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    lines.push_back({.number = number, .text = std::string(line)});
  }
  if (lines.empty()) return absl::InvalidArgumentError(Place(option, path) + " has no lines");
  if (!IsJsonl(path, format, lines.front().text)) return lines;
  for (InputLine& line : lines) {
    const auto object = ObjectOfFile(absl::StrCat(Place(option, path), " line ", line.number),
                                     ParseStrictJson(line.text));
    if (!object.ok()) return absl::InvalidArgumentError(object.status().message());
    line.object = *object;
  }
  return lines;
}

absl::StatusOr<std::vector<uint32_t>> IdsOfJson(const std::string& key,
                                                const nlohmann::json& list) {
  std::vector<uint32_t> ids;
  for (const nlohmann::json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > UINT32_MAX) {
      return absl::InvalidArgumentError(absl::StrCat(key, " is no list of token ids"));
    }
    ids.push_back(id.get<uint32_t>());
  }
  return ids;
}

}  // namespace peerage::client
