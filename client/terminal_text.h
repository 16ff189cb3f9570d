#pragma once

#include <google/protobuf/duration.pb.h>

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace peerage::client {

std::string FormatPercent(double ratio);           // "12.3 %"
std::string FormatThreeDigits(double value);       // "1.75", "17.5", "1,750"; not negative
std::string FormatInterval(absl::Duration value);  // "45.2 ms", "3.1 s", "2h 5m"

// The text with control characters and bytes that are no valid UTF-8 escaped: safe to print
// whatever a server calls its models and experts.
std::string EscapeText(const std::string& text);

// The text in double quotes, with control characters, quotes, backslashes and bytes that are no
// valid UTF-8 escaped: safe to print whatever a model or a tokenizer produced.
std::string QuoteText(const std::string& text);

absl::Duration ToDuration(const google::protobuf::Duration& duration);

// Columns of text, aligned by code points. Titles and cells may hold anything: what a terminal
// would obey is escaped (EscapeText).
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns);

  // Precondition: one cell for each column.
  void AddRow(std::vector<std::string> cells);

  // The titles and the rows, two spaces between columns, each line ended, nothing trailing.
  std::string ToString() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace peerage::client
