#include "client/terminal_text.h"

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
#include "base/utf8.h"

namespace peerage::client {
namespace {

// The length of the valid UTF-8 sequence at the front of `text`, 0 when it begins with none.
size_t ValidSequence(absl::string_view text) {
  const Utf8Prefix prefix = ReadUtf8(text);
  return prefix.kind == Utf8Prefix::Kind::kCodePoint ? prefix.length : 0;
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
    const size_t length = ValidSequence(absl::string_view(text).substr(i));
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
