#include "model/nn/step/slot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace peerage::nn {
namespace {

using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Philox4x32-10 as its paper writes it (Salmon et al. 2011, section 3.3, and the constants of
// Table 2), one round after the other on 64-bit products.
uint64_t PublishedRandom(uint64_t seed, uint32_t candidate, uint32_t generated) {
  std::array<uint64_t, 4> counter = {generated, candidate, 0, 0};
  uint64_t key0 = seed & 0xffffffff, key1 = seed >> 32;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = counter[0] * 0xD2511F53, product1 = counter[2] * 0xCD9E8D57;
    counter = {(product1 >> 32) ^ counter[1] ^ key0, product1 & 0xffffffff,
               (product0 >> 32) ^ counter[3] ^ key1, product0 & 0xffffffff};
    key0 = (key0 + 0x9E3779B9) & 0xffffffff;
    key1 = (key1 + 0xBB67AE85) & 0xffffffff;
  }
  return counter[0] | counter[1] << 32;
}

TEST(SlotTest, RandomBitsArePhiloxOfSeedCandidateAndCount) {
  // The published answer for zeros throughout, low word first.
  EXPECT_EQ(Slot().Random(), 0xe169c58d6627e8d5);
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, ~uint64_t{0}}) {
    for (const uint32_t candidate : {0u, 1u, 0xffffffffu}) {
      Slot slot({.sampling = {.seed = seed}, .candidate = candidate});
      for (uint32_t generated = 0; generated < 33; ++generated) {
        ASSERT_EQ(slot.Random(), PublishedRandom(seed, candidate, generated))
            << seed << ", " << candidate << ", " << generated;
        slot.Remember(5);
      }
    }
  }
}

TEST(SlotTest, RandomBitsDependOnNothingElse) {
  const std::vector<TokenId> prompt = {1, 2, 3};
  Slot plain({.sampling = {.seed = 31}});
  Slot other({.sampling = {.temperature = 0.5f, .top_k = 3, .seed = 31, .repetition_penalty = 2},
              .prompt = prompt});
  EXPECT_EQ(plain.Random(), other.Random());
  EXPECT_EQ(plain.Random(), plain.Random());  // asking draws nothing
  plain.Remember(7);
  other.Remember(90);
  EXPECT_EQ(plain.Random(), other.Random());
}

// Opened with what was generated before, a slot is the one that generated it.
TEST(SlotTest, GoesOnWhereAnotherStopped) {
  const std::vector<TokenId> prompt = {5, 6}, generated = {6, 3, 3};
  const SamplingParams sampling = {.seed = 97,
                                   .repetition_penalty = 1.5f,
                                   .presence_penalty = 1,
                                   .min_tokens = 4,
                                   .masked_ids = {1}};
  Slot whole({.sampling = sampling, .prompt = prompt, .candidate = 1});
  for (const TokenId token : generated) whole.Remember(token);
  Slot resumed({.sampling = sampling, .prompt = prompt, .generated = generated, .candidate = 1});

  EXPECT_EQ(resumed.generated(), 3u);
  EXPECT_EQ(resumed.seen(), whole.seen());
  EXPECT_THAT(resumed.seen(), UnorderedElementsAre(Pair(5, 0), Pair(6, 1), Pair(3, 2)));
  EXPECT_EQ(resumed.Random(), PublishedRandom(97, 1, 3));
  EXPECT_TRUE(resumed.must_mask());
  resumed.Remember(9);
  EXPECT_FALSE(resumed.must_mask());
}

// The repetition penalty sees the prompt too; the others what was generated.
TEST(SlotTest, HistoryIsKeptForPenaltiesOnly) {
  const std::vector<TokenId> prompt = {5, 6, 5};
  const auto history = [&](const SamplingParams& sampling) {
    Slot slot({.sampling = sampling, .prompt = prompt});
    for (const TokenId token : {6, 6, 9}) slot.Remember(token);
    EXPECT_EQ(slot.generated(), 3u);
    return slot.seen();
  };
  EXPECT_THAT(history({}), IsEmpty());
  EXPECT_THAT(history({.repetition_penalty = 1.5f}),
              UnorderedElementsAre(Pair(5, 0), Pair(6, 2), Pair(9, 1)));
  EXPECT_THAT(history({.frequency_penalty = 0.5f}), UnorderedElementsAre(Pair(6, 2), Pair(9, 1)));
  EXPECT_THAT(history({.presence_penalty = -0.5f}), UnorderedElementsAre(Pair(6, 2), Pair(9, 1)));
}

TEST(SlotTest, HasAPenaltyWhenAnyIsNotNeutral) {
  EXPECT_FALSE(Slot({.sampling = {.temperature = 0, .top_p = 0.5f}}).has_penalty());
  EXPECT_TRUE(Slot({.sampling = {.repetition_penalty = 0.9f}}).has_penalty());
  EXPECT_TRUE(Slot({.sampling = {.frequency_penalty = -0.1f}}).has_penalty());
  EXPECT_TRUE(Slot({.sampling = {.presence_penalty = 0.1f}}).has_penalty());
}

TEST(SlotTest, MasksUntilEnoughTokensAreGenerated) {
  Slot slot({.sampling = {.min_tokens = 2}});
  EXPECT_TRUE(slot.must_mask());
  slot.Remember(1);
  EXPECT_TRUE(slot.must_mask());
  slot.Remember(1);
  EXPECT_FALSE(slot.must_mask());
  EXPECT_FALSE(Slot().must_mask());
}

TEST(SlotTest, StreamsOfNeighboursDoNotMeet) {
  std::set<uint64_t> drawn;
  for (const uint64_t seed : {3, 4, 5}) {
    for (uint32_t candidate = 0; candidate < 3; ++candidate) {
      Slot slot({.sampling = {.seed = seed}, .candidate = candidate});
      for (int i = 0; i < 31; ++i) {
        drawn.insert(slot.Random());
        slot.Remember(1);
      }
    }
  }
  EXPECT_EQ(drawn.size(), 3u * 3 * 31);
}

}  // namespace
}  // namespace peerage::nn
