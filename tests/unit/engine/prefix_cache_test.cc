#include "server/engine/prefix_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;
using Tokens = std::vector<TokenId>;

TEST(PrefixCacheTest, FindsABlockByItsTokensAndWhatIsBeforeIt) {
  PrefixCache cache(8, 3);
  ASSERT_EQ(cache.Remember(5, kNoPrefix, "", Tokens{1, 2, 3}), 5);
  const PrefixId first = cache.PrefixOf(5);
  ASSERT_EQ(cache.Remember(2, first, "", Tokens{1, 2, 3}), 2);

  EXPECT_THAT(cache.Find(kNoPrefix, "", Tokens{1, 2, 3}), Optional(5));
  EXPECT_THAT(cache.Find(first, "", Tokens{1, 2, 3}), Optional(2));
  EXPECT_EQ(cache.Find(first, "", Tokens{1, 2, 4}), std::nullopt);
  EXPECT_EQ(cache.Find(cache.PrefixOf(2), "", Tokens{1, 2, 3}), std::nullopt);
}

TEST(PrefixCacheTest, TellsSaltsApartAtTheBeginning) {
  PrefixCache cache(8, 2);
  cache.Remember(0, kNoPrefix, "a", Tokens{1, 2});
  EXPECT_EQ(cache.Find(kNoPrefix, "", Tokens{1, 2}), std::nullopt);
  EXPECT_EQ(cache.Remember(1, kNoPrefix, "", Tokens{1, 2}), 1);

  EXPECT_THAT(cache.Find(kNoPrefix, "a", Tokens{1, 2}), Optional(0));
  EXPECT_THAT(cache.Find(kNoPrefix, "", Tokens{1, 2}), Optional(1));
  EXPECT_NE(cache.PrefixOf(0), cache.PrefixOf(1)) << "so what follows is apart, too";
}

TEST(PrefixCacheTest, KeepsTheFirstOfTwoThatHoldTheSame) {
  PrefixCache cache(8, 2);
  cache.Remember(3, kNoPrefix, "", Tokens{1, 2});

  EXPECT_EQ(cache.Remember(4, kNoPrefix, "", Tokens{1, 2}), 3);
  EXPECT_FALSE(cache.Remembers(4));
}

// Else a block behind it would be found by who has another beginning.
TEST(PrefixCacheTest, NeverFindsWhatWasBehindAForgottenBlock) {
  PrefixCache cache(8, 2);
  cache.Remember(3, kNoPrefix, "", Tokens{1, 2});
  const PrefixId before = cache.PrefixOf(3);
  cache.Remember(4, before, "", Tokens{5, 6});
  cache.Forget(3);
  EXPECT_EQ(cache.Find(kNoPrefix, "", Tokens{1, 2}), std::nullopt);

  cache.Remember(3, kNoPrefix, "", Tokens{8, 9});
  EXPECT_NE(cache.PrefixOf(3), before);
  EXPECT_EQ(cache.Find(cache.PrefixOf(3), "", Tokens{5, 6}), std::nullopt);
  cache.Forget(7);  // of which nothing is remembered
}

TEST(PrefixCacheTest, KeepsTheLikelihoodsWithTheMostAlternatives) {
  PrefixCache cache(8, 2);
  cache.Remember(3, kNoPrefix, "", Tokens{1, 2});
  EXPECT_THAT(cache.LogprobsOf(3, 0), IsEmpty());
  const std::vector<TokenLogprob> few = {{.token = 1}, {.token = 2, .logprob = -1.f}};
  std::vector<TokenLogprob> many = few;
  many[1].alternatives = {{7, -.5f}, {2, -1.f}};

  cache.AddLogprobs(3, few, 0);
  EXPECT_THAT(cache.LogprobsOf(3, 0), SizeIs(2));
  EXPECT_THAT(cache.LogprobsOf(3, 1), IsEmpty());
  cache.AddLogprobs(3, many, 2);
  EXPECT_THAT(cache.LogprobsOf(3, 2), SizeIs(2));
  cache.AddLogprobs(3, few, 0);
  EXPECT_THAT(cache.LogprobsOf(3, 1), SizeIs(2));
}

TEST(PrefixCacheTest, KeepsTheLikelihoodsOfTheMostTokens) {
  PrefixCache cache(8, 2);
  cache.Remember(3, kNoPrefix, "", Tokens{1, 2});
  const std::vector<TokenLogprob> all = {{.token = 1}, {.token = 2, .logprob = -1.f}};
  const std::vector<TokenLogprob> first = {{.token = 1, .alternatives = {{5, -1.f}}}};

  cache.AddLogprobs(3, first, 1);
  EXPECT_THAT(cache.LogprobsOf(3, 1), SizeIs(1));
  cache.AddLogprobs(3, all, 0);
  EXPECT_THAT(cache.LogprobsOf(3, 0), SizeIs(2));
  EXPECT_THAT(cache.LogprobsOf(3, 1), IsEmpty());
  cache.AddLogprobs(3, first, 1);
  EXPECT_THAT(cache.LogprobsOf(3, 0), SizeIs(2));
}

}  // namespace
}  // namespace peerage
