#include "client/table.h"

#include <gtest/gtest.h>

namespace peerage::client {
namespace {

TEST(TableTest, AlignsColumnsAndLeavesNothingTrailing) {
  Table table({{"name"}, {"count", Table::Align::kRight}, {"text"}});
  table.AddRow({"a", "1", "x"});
  table.AddRow({"longer", "12345678", ""});

  EXPECT_EQ(table.ToString(),
            "name       count  text\n"
            "a              1  x\n"
            "longer  12345678\n");
}

TEST(TableTest, CountsCodePointsNotBytes) {
  Table table({{"a"}, {"b"}});
  table.AddRow({"äöü", "1"});
  table.AddRow({"abcd", "2"});

  EXPECT_EQ(table.ToString(),
            "a     b\n"
            "äöü   1\n"
            "abcd  2\n");
}

TEST(TableTest, EscapesWhatATerminalWouldObey) {
  Table table({{"a\x1b"}, {"b"}});
  table.AddRow({"\n", "1"});

  EXPECT_EQ(table.ToString(),
            "a\\x1b  b\n"
            "\\n     1\n");
}

TEST(TableTest, PrintsItsTitlesWithoutRows) {
  EXPECT_EQ(Table({{"a"}, {"b"}}).ToString(), "a  b\n");
}

}  // namespace
}  // namespace peerage::client
