#include "server/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

using ::testing::HasSubstr;

TEST(ConfigFileTest, ReadsStringsNumbersBooleansAndComments) {
  const auto entries = ParseConfigFile(
      "# a comment\n"
      "\n"
      "basic = \"a # \\\"b\\\" \\\\ c\"  # not in the string\n"
      "literal='C:\\temp'\r\n"
      "  number = -12_000.5e3 # trailing\n"
      "flag = true");
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 4u);
  EXPECT_EQ((*entries)[0].value, "a # \"b\" \\ c");
  EXPECT_EQ((*entries)[0].line, 3);
  EXPECT_EQ((*entries)[1].value, "C:\\temp");
  EXPECT_EQ((*entries)[2].key, "number");
  EXPECT_EQ((*entries)[2].value, "-12_000.5e3");
  EXPECT_EQ((*entries)[3].value, "true");
}

TEST(ConfigFileTest, RefusesWhatItDoesNotUnderstandWithTheLine) {
  for (const std::string line :
       {"[server]", "key", "= 1", "a.b = 1", "a b = 1", "key =", "key = word", "key = [1, 2]",
        "key = \"open", "key = 'open", "key = \"\\n\"", "key = \"a\" b", "key = \"\"\"a\"\"\"",
        "key = 1979-05-27T07:32:00Z", "key = \"end\\"}) {
    const auto entries = ParseConfigFile("ok = 1\n" + line + "\n");
    ASSERT_FALSE(entries.ok()) << line;
    EXPECT_THAT(std::string(entries.status().message()), HasSubstr("line 2: ")) << line;
  }
}

TEST(ConfigFileTest, RefusesAKeyThatIsWrittenTwice) {
  const auto entries = ParseConfigFile("a = 1\nb = 2\na = 3\n");
  ASSERT_FALSE(entries.ok());
  EXPECT_EQ(entries.status().message(), "line 3: duplicate key 'a'");
}

TEST(ConfigFileTest, ReadsBackWhatItQuotes) {
  const std::string text = "a \"quoted\" \\ path # with 'all' = of it";
  const auto entries = ParseConfigFile("key = " + QuoteToml(text));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ((*entries)[0].value, text);
}

}  // namespace
}  // namespace peerage
