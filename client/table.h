#pragma once

#include <string>
#include <vector>

namespace peerage::client {

// Columns of text, aligned by code points. Titles and cells may hold anything: what a terminal
// would obey is escaped (EscapeText in client/format.h).
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
