#include "model/tokenizer/byte_bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "absl/strings/string_view.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Tokens of single bytes have the byte as id.
ByteBpe::Options Bytes(std::vector<Merge> merges) {
  ByteBpe::Options options;
  for (int byte = 0; byte < 256; ++byte) options.byte_tokens[byte] = byte;
  options.merges = std::move(merges);
  return options;
}

std::vector<TokenId> Encode(const ByteBpe& bpe, absl::string_view word) {
  BpeEncoder encoder(bpe);
  encoder.Append(word);
  return encoder.Take();
}

TEST(ByteBpeTest, MergesTheLowestRankFirstAndTheLeftmostOfEqualRank) {
  const ByteBpe bpe(Bytes({{'b', 'c', 300}, {'a', 'b', 301}, {'a', 'a', 302}, {302, 'a', 303}}));

  EXPECT_THAT(Encode(bpe, "abc"), ElementsAre('a', 300));
  EXPECT_THAT(Encode(bpe, "abx"), ElementsAre(301, 'x'));
  EXPECT_THAT(Encode(bpe, "aaa"), ElementsAre(303));
  EXPECT_THAT(Encode(bpe, "aaaa"), ElementsAre(302, 302));
  EXPECT_THAT(Encode(bpe, ""), IsEmpty());
}

TEST(ByteBpeTest, KeepsAWholeWordWhateverTheMergesSay) {
  ByteBpe::Options options = Bytes({{'a', 'b', 300}});
  options.whole_words = {{"abc", 310}};
  const ByteBpe bpe(std::move(options));

  EXPECT_THAT(Encode(bpe, "abc"), ElementsAre(310));
  EXPECT_THAT(Encode(bpe, "abcd"), ElementsAre(300, 'c', 'd'));
}

TEST(ByteBpeTest, LeavesOutAByteWithoutTokenOrReplacesIt) {
  ByteBpe::Options options = Bytes({{'a', 'b', 300}});
  options.byte_tokens['x'] = std::nullopt;
  EXPECT_THAT(Encode(ByteBpe(options), "axb"), ElementsAre(300));

  options.unknown = 299;
  EXPECT_THAT(Encode(ByteBpe(options), "axb"), ElementsAre('a', 299, 'b'));
}

// Always the first pair of the lowest rank, found by looking at all of them.
std::vector<TokenId> EncodeNaively(const std::vector<Merge>& merges, absl::string_view word) {
  std::vector<TokenId> tokens;
  for (const char c : word) tokens.push_back(static_cast<uint8_t>(c));
  for (size_t rank = 0; rank < merges.size();) {
    size_t i = 0;
    while (i + 1 < tokens.size() &&
           (tokens[i] != merges[rank].left || tokens[i + 1] != merges[rank].right)) {
      ++i;
    }
    if (i + 1 >= tokens.size()) {
      ++rank;
      continue;
    }
    tokens[i] = merges[rank].result;
    tokens.erase(tokens.begin() + i + 1);
    rank = 0;
  }
  return tokens;
}

TEST(ByteBpeTest, EqualsTheDefinitionOnRandomMergesAndWords) {
  constexpr int kSeed = 20240704;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 200; ++round) {
    std::vector<Merge> merges;
    std::vector<TokenId> tokens = {'a', 'b', 'c'};
    while (merges.size() < 12) {
      const Merge merge = {tokens[random() % tokens.size()], tokens[random() % tokens.size()],
                           static_cast<TokenId>(300 + merges.size())};
      const bool known = std::any_of(merges.begin(), merges.end(), [&](const Merge& other) {
        return other.left == merge.left && other.right == merge.right;
      });
      if (known) continue;
      merges.push_back(merge);
      tokens.push_back(merge.result);
    }
    const ByteBpe bpe(Bytes(merges));
    for (int i = 0; i < 20; ++i) {
      std::string word;
      for (int length = random() % 40; length > 0; --length) word += "abc"[random() % 3];
      ASSERT_EQ(Encode(bpe, word), EncodeNaively(merges, word))
          << word << " in round " << round << " of seed " << kSeed;
    }
  }
}

}  // namespace
}  // namespace peerage
