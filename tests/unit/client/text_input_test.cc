#include "client/commands/text_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string FileOf(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/text_input_test_", name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(ReadTextTest, GivesTheWholeFile) {
  EXPECT_EQ(*ReadText("--file", FileOf("a", "caf\u00e9\n\n")), "caf\u00e9\n\n");
  EXPECT_EQ(*ReadText("--file", FileOf("empty", "")), "");
}

TEST(ReadTextTest, RefusesWhatIsNotUtf8WithItsPlace) {
  const std::string path = FileOf("bad", "one\ncaf\xe9");
  EXPECT_EQ(ReadText("--file", path).status().message(),
            absl::StrCat("--file (", path, "): byte 7 (line 2) is not UTF-8"));
}

TEST(ReadTextTest, SaysWhyAFileCannotBeRead) {
  EXPECT_EQ(ReadText("--file", "/nowhere/a").status().message(),
            "--file (/nowhere/a) cannot be read: No such file or directory");
  EXPECT_EQ(ReadText("--file", "/").status().message(),
            "--file (/) cannot be read: Is a directory");
}

TEST(ReadIdsTest, TakesListsAndFiles) {
  EXPECT_THAT(*ReadIds("--ids", "1,2,3"), ElementsAre(1, 2, 3));
  EXPECT_THAT(*ReadIds("--ids", "1 2, 4294967295"), ElementsAre(1, 2, 4294967295u));
  EXPECT_THAT(*ReadIds("--ids", "[7]"), ElementsAre(7));
  EXPECT_THAT(*ReadIds("--ids", FileOf("ids", "[1,\n 2]\n3\n")), ElementsAre(1, 2, 3));
}

TEST(ReadIdsTest, RefusesWhatAreNoIds) {
  for (const char* given : {"1,x", "1,-2", "1.5", "4294967296", "1;2"}) {
    EXPECT_THAT(ReadIds("--ids", given).status().message(),
                HasSubstr("not a whole number from 0 to 4294967295"))
        << given;
  }
  EXPECT_EQ(ReadIds("--ids", "[]").status().message(), "--ids has no token ids");
  EXPECT_EQ(ReadIds("--ids", FileOf("no", "\n")).status().message(), "--ids has no token ids");
}

TEST(ReadLinesTest, SkipsBlankLinesAndKnowsTheirNumbers) {
  const auto lines = ReadLines("--file", FileOf("lines", "one\r\n\n  \n{two}\n"), "auto");
  ASSERT_EQ(lines->size(), 2u);
  EXPECT_EQ((*lines)[0].text, "one");
  EXPECT_EQ((*lines)[1].text, "{two}");
  EXPECT_EQ((*lines)[1].number, 4u);
  EXPECT_FALSE((*lines)[1].object.has_value());
}

TEST(ReadLinesTest, KnowsJsonlByNameOrFirstLine) {
  for (const std::string& path :
       {FileOf("a.jsonl", "{\"a\": 1}\n"), FileOf("a.txt", "{\"a\": 1}\n\n{\"a\": 2}")}) {
    const auto lines = ReadLines("--file", path, "auto");
    ASSERT_TRUE((*lines)[0].object.has_value());
    EXPECT_EQ((*lines)[0].object->at("a"), 1);
    EXPECT_FALSE(ReadLines("--file", path, "lines")->at(0).object.has_value());
  }
}

TEST(ReadLinesTest, RefusesLinesThatAreNoObjects) {
  const std::string path = FileOf("b.jsonl", "{\"a\": 1}\n[1]\n");
  EXPECT_EQ(
      ReadLines("--file", path, "auto").status(),
      absl::InvalidArgumentError(absl::StrCat("--file (", path, ") line 2 is not a JSON object")));
  const std::string broken = FileOf("c.jsonl", "{\"a\": 1\n");
  EXPECT_THAT(ReadLines("--file", broken, "auto").status().message(), HasSubstr("line 1"));
  EXPECT_EQ(ReadLines("--file", FileOf("none", "\n\n"), "auto").status().message(),
            absl::StrCat("--file (", FileOf("none", "\n\n"), ") has no lines"));
}

}  // namespace
}  // namespace peerage::client
