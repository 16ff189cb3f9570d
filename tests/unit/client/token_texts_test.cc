#include "client/token_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace peerage::client {
namespace {

const char kAnswer[] = R"({
  "candidates": [{"token_ids": [3, 4],
                  "logprobs": [{"token_id": 3, "rank": 1, "alternative_ids": [5]}],
                  "finish": {"stop_token_id": 4}}],
  "usage": {"prompt_tokens": 9}})";

TEST(TokenTextsTest, FindsTheIdsOfAnAnswer) {
  EXPECT_THAT(TokenIdsIn(Json::parse(kAnswer)), ::testing::ElementsAre(3, 4, 5));
}

TEST(TokenTextsTest, StandBesideTheIds) {
  const TokenTexts texts({{3, " Par"}, {4, "is"}, {5, "x"}});

  EXPECT_EQ(WithTokenTexts(Json::parse(kAnswer), texts).dump(), Json::parse(R"({
  "candidates": [{"token_ids": [3, 4], "tokens": [" Par", "is"],
                  "logprobs": [{"token_id": 3, "token": " Par", "rank": 1, "alternative_ids": [5],
                                "alternative_tokens": ["x"]}],
                  "finish": {"stop_token_id": 4, "stop_token": "is"}}],
  "usage": {"prompt_tokens": 9}})")
                                                                    .dump());
  EXPECT_EQ(texts.Of(9), "");
}

}  // namespace
}  // namespace peerage::client
