#include "client/terminal_text.h"

#include <gtest/gtest.h>

#include <string>

namespace peerage::client {
namespace {

TEST(FormatTest, ShowsIntervalsAsPeopleReadThem) {
  EXPECT_EQ(FormatInterval(absl::Microseconds(250)), "0.2 ms");
  EXPECT_EQ(FormatInterval(absl::Milliseconds(45.2)), "45.2 ms");
  EXPECT_EQ(FormatInterval(absl::Seconds(3.14)), "3.1 s");
  EXPECT_EQ(FormatInterval(absl::Seconds(61)), "1m 1s");
  EXPECT_EQ(FormatInterval(absl::Minutes(125)), "2h 5m");
}

TEST(FormatTest, KeepsThreeDigitsOfSmallNumbers) {
  EXPECT_EQ(FormatThreeDigits(0), "0.00");
  EXPECT_EQ(FormatThreeDigits(1.746), "1.75");
  EXPECT_EQ(FormatThreeDigits(17.46), "17.5");
  EXPECT_EQ(FormatThreeDigits(1746.2), "1,746");
}

TEST(FormatTest, EscapesOnlyWhatATerminalWouldObey) {
  EXPECT_EQ(EscapeText("b\n\t\x1b[31mRED\xff"), R"(b\n\t\x1b[31mRED\xff)");
  EXPECT_EQ(EscapeText(R"(a "b" \ é)"), R"(a "b" \ é)");
}

struct Quoted {
  std::string text;
  std::string quoted;
};

class QuoteTextTest : public ::testing::TestWithParam<Quoted> {};

TEST_P(QuoteTextTest, LeavesNothingThatATerminalWouldObey) {
  EXPECT_EQ(QuoteText(GetParam().text), GetParam().quoted);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, QuoteTextTest,
    ::testing::Values(Quoted{"", "\"\""}, Quoted{" Paris", "\" Paris\""},
                      Quoted{"a\"b\\c", R"("a\"b\\c")"}, Quoted{"\n\t", R"("\n\t")"},
                      Quoted{"\x1b[31m", R"("\x1b[31m")"}, Quoted{"\x7f", R"("\x7f")"},
                      Quoted{std::string(1, '\0'), R"("\x00")"}, Quoted{"é漢😀", "\"é漢😀\""},
                      Quoted{"\xC2\x9B", R"("\xc2\x9b")"},
                      Quoted{"\xE6\xBC", R"("\xe6\xbc")"},                  // cut off
                      Quoted{"\xC0\xAF", R"("\xc0\xaf")"},                  // overlong
                      Quoted{"\xED\xA0\x80", R"("\xed\xa0\x80")"},          // surrogate
                      Quoted{"\xF4\x90\x80\x80", R"("\xf4\x90\x80\x80")"},  // above U+10FFFF
                      Quoted{"\x80z", R"("\x80z")"}));

TEST(FormatTest, ConvertsDurations) {
  google::protobuf::Duration duration;
  duration.set_seconds(2);
  duration.set_nanos(500'000'000);
  EXPECT_EQ(ToDuration(duration), absl::Milliseconds(2500));
}

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
