#include "client/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "peerage/v1/inference.pb.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

TEST(FormatTest, PicksTheLargestUnitThatFits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(102'861'632), "98.1 MiB");
  EXPECT_EQ(FormatBytes(UINT64_MAX), "16777216.0 TiB");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(134'515'008), "134.5M");
}

TEST(FormatTest, ShowsIntervalsAsPeopleReadThem) {
  EXPECT_EQ(FormatInterval(absl::Microseconds(250)), "0.2 ms");
  EXPECT_EQ(FormatInterval(absl::Milliseconds(45.2)), "45.2 ms");
  EXPECT_EQ(FormatInterval(absl::Seconds(3.14)), "3.1 s");
  EXPECT_EQ(FormatInterval(absl::Seconds(61)), "1m 1s");
  EXPECT_EQ(FormatInterval(absl::Minutes(125)), "2h 5m");
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

TEST(FormatTest, WritesJsonUnderTheFieldsOwnNamesWithDefaults) {
  v1::Usage usage;
  usage.set_prompt_tokens(3);
  const std::string json = ToJson(usage);
  EXPECT_THAT(json, HasSubstr("\"prompt_tokens\": 3"));
  EXPECT_THAT(json, HasSubstr("\"completion_tokens\": 0"));
}

TEST(FormatTest, ConvertsDurations) {
  google::protobuf::Duration duration;
  duration.set_seconds(2);
  duration.set_nanos(500'000'000);
  EXPECT_EQ(ToDuration(duration), absl::Milliseconds(2500));
}

}  // namespace
}  // namespace peerage
