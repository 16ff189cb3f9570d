#include "model/transform/convert/name_mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace peerage::transform {
namespace {

using ::testing::HasSubstr;

// The new name, or "-" when the pattern does not match.
std::string Renamed(const std::string& line, const std::string& name) {
  const auto pattern = NamePattern::Parse(line);
  EXPECT_TRUE(pattern.ok()) << pattern.status();
  return pattern->Rename(name).value_or("-");
}

TEST(NamePatternTest, RenamesByWildcardsInTheirOrder) {
  EXPECT_EQ(Renamed("a -> b", "a"), "b");
  EXPECT_EQ(Renamed("blocks.*.mlp.keys -> model.layers.*.ffn.peer.keys", "blocks.12.mlp.keys"),
            "model.layers.12.ffn.peer.keys");
  EXPECT_EQ(Renamed("**.x.* -> y.**.*", "a.b.x.c"), "y.a.b.c");
  EXPECT_EQ(Renamed("**->model.**", "a.b"), "model.a.b");
  EXPECT_EQ(Renamed("module.** -> **", "module.a.b"), "a.b");
  EXPECT_EQ(Renamed("w_*_* -> *.*", "w_a_b"), "a.b");
}

TEST(NamePatternTest, MatchesWholeNamesOnly) {
  EXPECT_EQ(Renamed("a -> b", "ab"), "-");
  EXPECT_EQ(Renamed("a -> b", ""), "-");
  EXPECT_EQ(Renamed("a.* -> b.*", "a.b.c"), "-");
  EXPECT_EQ(Renamed("a.* -> b.*", "a."), "-");
  EXPECT_EQ(Renamed("a** -> b**", "a"), "b");
  EXPECT_EQ(Renamed("a.b -> c", "axb"), "-");
}

TEST(NamePatternTest, TakesTheShortestForTheFirstWildcards) {
  EXPECT_EQ(Renamed("**.** -> [**][**]", "a.b.c"), "[a][b.c]");
  EXPECT_EQ(Renamed("*_* -> [*][*]", "a_b_c"), "[a][b_c]");
}

TEST(NamePatternTest, IsQuickOnHostilePatterns) {
  std::string pattern, replacement;
  for (int i = 0; i < 20; ++i) pattern += "**a", replacement += "**";
  EXPECT_EQ(Renamed(pattern + "b -> " + replacement, std::string(500, 'a')), "-");
}

TEST(NamePatternTest, RefusesWhatIsNotOne) {
  for (const auto& [line, error] :
       {std::pair("a", "is not \"pattern -> replacement\""),
        std::pair("a -> b -> c", "is not \"pattern"), std::pair("a -> ", "has an empty side"),
        std::pair(" -> b", "has an empty side"), std::pair("a.* -> b", "same wildcards"),
        std::pair("a -> b.*", "same wildcards"), std::pair("*.** -> **.*", "same wildcards")}) {
    const auto pattern = NamePattern::Parse(line);
    ASSERT_FALSE(pattern.ok()) << line;
    EXPECT_THAT(std::string(pattern.status().message()), HasSubstr(error));
  }
}

TEST(NameMappingTest, UsesTheFirstPatternThatMatches) {
  const auto mapping = NameMapping::Parse(
      "# how the layer is called here\n\n  a.special -> x  # but this one\r\na.* -> b.*\n");

  ASSERT_TRUE(mapping.ok()) << mapping.status();
  ASSERT_EQ(mapping->patterns().size(), 2u);
  EXPECT_EQ(mapping->Rename("a.special")->name, "x");
  EXPECT_EQ(mapping->Rename("a.special")->pattern, 0u);
  EXPECT_EQ(mapping->Rename("a.other")->name, "b.other");
  EXPECT_EQ(mapping->Rename("a.other")->pattern, 1u);
  EXPECT_EQ(mapping->Rename("c"), std::nullopt);
  EXPECT_EQ(mapping->patterns()[1].text(), "a.* -> b.*");
}

TEST(NameMappingTest, NamesTheLineOfAnError) {
  EXPECT_THAT(std::string(NameMapping::Parse("a -> b\n\noops\n").status().message()),
              HasSubstr("line 3: \"oops\" is not"));
}

}  // namespace
}  // namespace peerage::transform
