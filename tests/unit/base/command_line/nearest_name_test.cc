#include "base/command_line/nearest_name.h"

#include <gtest/gtest.h>

namespace peerage {
namespace {

TEST(NearestNameTest, IsTheOneThatWasProbablyMeant) {
  const std::vector<std::string> names = {"generate", "score", "tokenize", "status", "models"};
  EXPECT_EQ(NearestName("genrate", names), "generate");
  EXPECT_EQ(NearestName("scroe", names), "score");  // two neighbours swapped
  EXPECT_EQ(NearestName("Status", names), "status");
  EXPECT_EQ(NearestName("model", names), "models");
  EXPECT_EQ(NearestName("status", names), "status");
}

TEST(NearestNameTest, IsNoneWhenNothingIsNear) {
  EXPECT_EQ(NearestName("serve", {"generate", "models"}), "");
  EXPECT_EQ(NearestName("", {"a"}), "");
  EXPECT_EQ(NearestName(std::string(100'000, 'a'), {"aaa"}), "");
  EXPECT_EQ(NearestName("a", {}), "");
}

TEST(NearestNameTest, MakesTheEndOfALine) {
  EXPECT_EQ(DidYouMean("--sed", {"--seed"}), "; did you mean --seed?");
  EXPECT_EQ(DidYouMean("--xyz", {"--seed"}), "");
}

}  // namespace
}  // namespace peerage
