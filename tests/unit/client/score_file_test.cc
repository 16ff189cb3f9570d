#include "client/commands/score_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<std::vector<ScoreItem>> Items(const std::string& content,
                                             const std::string& flags = "") {
  const std::string path = absl::StrCat(testing::TempDir(), "/score_file_test");
  std::ofstream(path, std::ios::binary) << content;
  CLI::App app;
  const PromptOptions context(app, "context");
  const FileOptions file(app, "", "");
  app.parse(absl::StrCat("--file ", path, " ", flags));
  return ReadScoreItems(file, context);
}

TEST(ScoreItemsTest, OfLinesAreTextsAfterNothing) {
  const auto items = Items("one\n\ntwo\n");
  ASSERT_EQ(items->size(), 2u);
  const ScoreItem& two = items->at(1);
  EXPECT_EQ(two.line, 3u);
  EXPECT_EQ(two.request.context().text(), "");
  EXPECT_FALSE(two.request.context().has_add_bos());
  ASSERT_EQ(two.request.continuations_size(), 1);
  EXPECT_EQ(two.request.continuations(0).text(), "two");
  EXPECT_THAT(two.texts, ElementsAre("two"));
}

TEST(ScoreItemsTest, OfJsonlHaveContextsTextsAndIds) {
  const auto items = Items(R"({"id": "a", "context": "2 + 2 =", "continuations": [" 4", [7, 8]]})"
                           "\n"
                           R"({"context": [1, 2], "continuations": ["x"]})"
                           "\n"
                           R"({"text": "whole"})"
                           "\n"
                           R"({"ids": [5, 6], "id": 9})"
                           "\n",
                           "--no-bos --model m");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 4u);
  const v1::ScoreRequest& first = items->at(0).request;
  EXPECT_EQ(first.model(), "m");
  EXPECT_EQ(first.context().text(), "2 + 2 =");
  EXPECT_EQ(first.continuations(0).text(), " 4");
  EXPECT_THAT(first.continuations(1).token_ids().ids(), ElementsAre(7, 8));
  EXPECT_EQ(*items->at(0).id, "a");
  EXPECT_THAT(items->at(1).request.context().token_ids().ids(), ElementsAre(1, 2));
  EXPECT_EQ(items->at(2).request.continuations(0).text(), "whole");
  EXPECT_THAT(items->at(3).request.continuations(0).token_ids().ids(), ElementsAre(5, 6));
  EXPECT_EQ(*items->at(3).id, 9);
  for (const ScoreItem& item : *items) EXPECT_TRUE(item.request.context().has_add_bos());
}

TEST(ScoreItemsTest, AreRefusedByLineAndKey) {
  const struct {
    const char* line;
    const char* what;
  } cases[] = {
      {"{}", "continuations must be a list of at least one text or list of token ids"},
      {R"({"continuations": []})",
       "continuations must be a list of at least one text or list of token ids"},
      {R"({"continuations": [1]})", "continuations[0] is neither a text nor a list of token ids"},
      {R"({"continuations": [[-1]]})", "continuations[0] is no list of token ids"},
      {R"({"context": {}, "continuations": ["a"]})",
       "context is neither a text nor a list of token ids"},
      {R"({"ids": ["a"]})", "ids is no list of token ids"},
  };
  for (const auto& [line, what] : cases) {
    EXPECT_EQ(Items(absl::StrCat("{\"text\": \"a\"}\n", line)).status(),
              absl::InvalidArgumentError(absl::StrCat("--file line 2: ", what)));
  }
  EXPECT_THAT(Items(R"({"text": "a", "contxt": "b"})").status().message(),
              ::testing::HasSubstr("contxt"));
}

}  // namespace
}  // namespace peerage::client
