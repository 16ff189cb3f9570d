#include "model/transform/convert/name_mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_join.h"

namespace peerage::transform {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The new name, or "-" when the pattern does not match.
std::string Renamed(const std::string& line, const std::string& name) {
  const auto pattern = NamePattern::Parse(line);
  EXPECT_TRUE(pattern.ok()) << pattern.status();
  const auto names = pattern->Rename(name);
  return names.has_value() ? absl::StrJoin(*names, " ") : "-";
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
  EXPECT_THAT(mapping->Rename("a.special").names, ElementsAre("x"));
  EXPECT_THAT(mapping->Rename("a.special").patterns, ElementsAre(0));
  EXPECT_THAT(mapping->Rename("a.other").names, ElementsAre("b.other"));
  EXPECT_THAT(mapping->Rename("a.other").patterns, ElementsAre(1));
  EXPECT_FALSE(mapping->Rename("c").matched);
  EXPECT_EQ(mapping->patterns()[1].text(), "a.* -> b.*");
}

TEST(NameMappingTest, TakesPrefixesAwayBeforeTheOtherLines) {
  const auto mapping = NameMapping::Parse(
      "_orig_mod.** => **\nmodule.** => **\nmodel._orig_mod.** => model.**\nh.* -> layers.*\n");

  ASSERT_TRUE(mapping.ok()) << mapping.status();
  for (const char* name : {"h.1", "module.h.1", "_orig_mod.h.1", "_orig_mod.module.h.1"}) {
    EXPECT_THAT(mapping->Rename(name).names, ElementsAre("layers.1")) << name;
    EXPECT_TRUE(mapping->Rename(name).matched);
  }
  EXPECT_THAT(mapping->Rename("model._orig_mod.x").names, ElementsAre("model.x"));
  EXPECT_FALSE(mapping->Rename("model._orig_mod.x").matched);
  EXPECT_TRUE(NameMapping::Parse("module.** => **")->Rename("module.x").matched);
}

TEST(NamePatternTest, NamesSeveralInBraces) {
  EXPECT_EQ(Renamed("h.*.qkv.* -> l.*.{q,k,v}_proj.*", "h.3.qkv.weight"),
            "l.3.q_proj.weight l.3.k_proj.weight l.3.v_proj.weight");
  EXPECT_EQ(Renamed("a -> {b, c}", "a"), "b c");
  for (const char* line : {"a -> {b}", "a -> {b,}", "a -> {b,c", "a -> b}{,c", "a -> {b,c}{d,e}",
                           "a* -> {b*,c}", "a -> {}"}) {
    EXPECT_THAT(std::string(NamePattern::Parse(line).status().message()),
                HasSubstr("braces hold two names or more"))
        << line;
  }
  EXPECT_THAT(std::string(NamePattern::Parse("a => {b,c}").status().message()),
              HasSubstr("braces need a ->"));
}

TEST(NameMappingTest, NamesTheLineOfAnError) {
  EXPECT_THAT(std::string(NameMapping::Parse("a -> b\n\noops\n").status().message()),
              HasSubstr("line 3: \"oops\" is not"));
}

}  // namespace
}  // namespace peerage::transform
