#include "client/terminal_text.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/number_text.h"

namespace peerage::client {
namespace {

// The length of the valid UTF-8 sequence at the front of `text`, 0 when it begins with none.
size_t ValidSequence(const char* text, size_t size) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xC2 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF5 ? 4
                                      : 0;
  if (length == 0 || length > size) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies beyond U+10FFFF.
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

bool IsControl(const char* text, size_t length) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (length == 1) return first < 0x20 || first == 0x7F;
  return length == 2 && first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;  // C1
}

// Escapes what a terminal would obey or cannot show, and `more` characters.
std::string Escape(const std::string& text, absl::string_view more) {
  std::string escaped;
  for (size_t i = 0; i < text.size();) {
    const size_t length = ValidSequence(text.data() + i, text.size() - i);
    if (absl::StrContains(more, text[i])) {
      absl::StrAppend(&escaped, "\\", text.substr(i, 1));
    } else if (text[i] == '\n') {
      escaped += "\\n";
    } else if (text[i] == '\t') {
      escaped += "\\t";
    } else if (length == 0 || IsControl(text.data() + i, length)) {
      for (size_t j = i; j < i + std::max<size_t>(length, 1); ++j) {
        absl::StrAppendFormat(&escaped, "\\x%02x", static_cast<unsigned char>(text[j]));
      }
    } else {
      escaped += text.substr(i, length);
    }
    i += std::max<size_t>(length, 1);
  }
  return escaped;
}

// Counts code points: every byte that does not continue one.
size_t Width(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

std::string Padded(const std::string& text, size_t width, Table::Align align) {
  const std::string padding(width - Width(text), ' ');
  return align == Table::Align::kLeft ? text + padding : padding + text;
}

}  // namespace

std::string FormatPercent(double ratio) { return absl::StrFormat("%.1f %%", 100 * ratio); }

std::string FormatThreeDigits(double value) {
  if (value >= 100) return FormatWhole(std::llround(value));
  return absl::StrFormat("%.*f", value < 10 ? 2 : 1, value);
}

std::string FormatInterval(absl::Duration value) {
  const double seconds = absl::ToDoubleSeconds(value);
  if (seconds < 1) return absl::StrFormat("%.1f ms", seconds * 1e3);
  if (seconds < 60) return absl::StrFormat("%.1f s", seconds);
  const int64_t minutes = static_cast<int64_t>(seconds) / 60;
  if (minutes < 60) return absl::StrFormat("%dm %ds", minutes, static_cast<int64_t>(seconds) % 60);
  return absl::StrFormat("%dh %dm", minutes / 60, minutes % 60);
}

std::string EscapeText(const std::string& text) { return Escape(text, ""); }

std::string QuoteText(const std::string& text) {
  return absl::StrCat("\"", Escape(text, "\"\\"), "\"");
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Fails only for messages that the protobuf library itself could not have parsed.
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return "{}\n";
  return json;
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (Column& column : columns_) column.title = EscapeText(column.title);
}

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = EscapeText(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::ToString() const {
  std::vector<std::string> titles;
  std::vector<size_t> widths;
  for (const Column& column : columns_) {
    titles.push_back(column.title);
    widths.push_back(Width(column.title));
  }
  for (const auto& row : rows_) {
    assert(row.size() == columns_.size());
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  const auto append = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      line += (i == 0 ? "" : "  ") + Padded(cells[i], widths[i], columns_[i].align);
    }
    absl::StripTrailingAsciiWhitespace(&line);
    text += line + "\n";
  };
  append(titles);
  for (const auto& row : rows_) append(row);
  return text;
}

}  // namespace peerage::client
