#include "model/experts/expert_numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(MostUsedExpertsTest, RanksBySelectionsThenScoresThenIds) {
  EXPECT_THAT(MostUsedExperts({1, 7, 1, 1, 7}, {2, 0, 3, 2, 1}, 5), ElementsAre(4, 1, 2, 0, 3));
}

TEST(MostUsedExpertsTest, GivesNoMoreThanThereAre) {
  EXPECT_THAT(MostUsedExperts({1, 7, 3}, {0, 0, 0}, 2), ElementsAre(1, 2));
  EXPECT_THAT(MostUsedExperts({1, 7, 3}, {0, 0, 0}, 9), ElementsAre(1, 2, 0));
  EXPECT_THAT(MostUsedExperts({5}, {1}, 16), ElementsAre(0));
  EXPECT_THAT(MostUsedExperts({}, {}, 16), IsEmpty());
}

TEST(MostUsedExpertsTest, TakesTheLargestCountsAndAnyScores) {
  EXPECT_THAT(MostUsedExperts({0, ~uint64_t{0}, 0, 0}, {kNan, 0, kInfinity, 1}, 4),
              ElementsAre(1, 2, 3, 0));
}

TEST(IsSoftTest, MeansThatEveryTokenHadEveryExpert) {
  EXPECT_TRUE(IsSoft(10, 30, 3));
  EXPECT_FALSE(IsSoft(10, 29, 3));
  EXPECT_FALSE(IsSoft(10, 10, 3)) << "one of three";
  EXPECT_FALSE(IsSoft(0, 0, 3)) << "nothing was counted";
}

TEST(ScoreSharesTest, AddUpToOne) {
  EXPECT_THAT(ScoreShares({3, 0, 1}), ElementsAre(0.75, 0, 0.25));
  EXPECT_THAT(ScoreShares({0x1p-32}), ElementsAre(1));
}

TEST(ScoreSharesTest, AreNoneWhereNothingWasCounted) {
  EXPECT_THAT(ScoreShares({0, 0}), IsEmpty());
  EXPECT_THAT(ScoreShares({}), IsEmpty());
}

TEST(ScoreSharesTest, AreNoneOfWhatIsNoSumOfWeights) {
  EXPECT_THAT(ScoreShares({1, kNan}), IsEmpty());
  EXPECT_THAT(ScoreShares({1, kInfinity}), IsEmpty());
  EXPECT_THAT(ScoreShares({3, -1}), IsEmpty());
  EXPECT_THAT(ScoreShares({1e308, 1e308}), IsEmpty()) << "their sum is infinite";
}

size_t DataOffset(const std::string& npy) {
  return 10 + static_cast<uint8_t>(npy[8]) + 256 * static_cast<uint8_t>(npy[9]);
}

TEST(SelectionsBySubKeyTest, SumsRowsAndColumnsOfAllSets) {
  // Two sets of four experts, two by two.
  const SubKeySelections sums = SelectionsBySubKey({1, 2, 4, 8, 16, 32, 64, 128}, 2);
  EXPECT_THAT(sums.rows, ::testing::ElementsAre(1 + 2 + 16 + 32, 4 + 8 + 64 + 128));
  EXPECT_THAT(sums.columns, ::testing::ElementsAre(1 + 4 + 16 + 64, 2 + 8 + 32 + 128));
}

TEST(NpyTest, IsAHeaderAndTwoRowsOfDoubles) {
  const std::string npy = ToNpy({3, 0, 7}, {0.5, 0, 2.25});

  EXPECT_EQ(npy.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t data = DataOffset(npy);
  EXPECT_EQ(data % 64, 0u);
  EXPECT_EQ(npy[data - 1], '\n');
  EXPECT_THAT(npy, ::testing::HasSubstr("'shape': (2, 3)"));
  ASSERT_EQ(npy.size(), data + 6 * sizeof(double));
  double values[6];
  std::memcpy(values, npy.data() + data, sizeof(values));
  EXPECT_THAT(values, ::testing::ElementsAre(3, 0, 7, 0.5, 0, 2.25));
}

// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: a dictionary of three
// sorted keys and nothing else, spaces up to the line break, data from a multiple of 64 bytes on.
TEST(NpyTest, HasTheHeaderOfTheFormat) {
  for (const size_t experts : {0, 1, 9, 10, 99, 100, 4096, 99'999, 1 << 20}) {
    const std::string npy = ToNpy(std::vector<uint64_t>(experts), std::vector<double>(experts));
    const size_t data = DataOffset(npy);
    std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, ";
    header += std::to_string(experts) + "), }";

    EXPECT_EQ(data, 128u) << experts;
    EXPECT_EQ(npy.size(), data + 2 * experts * sizeof(double));
    EXPECT_EQ(npy.substr(10, header.size()), header);
    EXPECT_EQ(npy.substr(10 + header.size(), data - 10 - header.size()),
              std::string(data - 11 - header.size(), ' ') + "\n");
  }
}

TEST(NpyTest, RoundsCountsThatADoubleCannotHold) {
  const std::string npy = ToNpy({(uint64_t{1} << 53) + 1, ~uint64_t{0}}, {kNan, 0});
  double values[4];
  std::memcpy(values, npy.data() + DataOffset(npy), sizeof(values));
  EXPECT_EQ(values[0], 0x1p53);
  EXPECT_EQ(values[1], 0x1p64);
  EXPECT_TRUE(std::isnan(values[2])) << "as it came";
}

TEST(NpyTest, IsReadAsItWasWritten) {
  for (const size_t experts : {0, 1, 257}) {
    std::vector<uint64_t> selections;
    std::vector<double> scores;
    for (size_t i = 0; i < experts; ++i) {
      selections.push_back(i * i * i);
      scores.push_back(-0.25 * static_cast<double>(i));
    }
    const auto numbers = FromNpy(ToNpy(selections, scores));
    ASSERT_TRUE(numbers.ok()) << numbers.status();
    EXPECT_EQ(numbers->selections, selections);
    EXPECT_EQ(numbers->scores, scores);
  }
}

TEST(NpyTest, RefusesWhatIsNoUsage) {
  const std::string good = ToNpy({1, 2, 3}, {0.5, 0.5, 0.5});
  const auto with = [&good](const std::string& from, const std::string& to) {
    std::string bytes = good;
    bytes.replace(bytes.find(from), from.size(), to);
    return bytes;
  };
  std::string fraction = good, negative = good, nan = good;
  const double odd[] = {0.5, -1, kNan};
  std::memcpy(fraction.data() + DataOffset(good), &odd[0], sizeof(double));
  std::memcpy(negative.data() + DataOffset(good), &odd[1], sizeof(double));
  std::memcpy(nan.data() + DataOffset(good), &odd[2], sizeof(double));
  for (const std::string& bytes :
       {std::string(), good.substr(0, 9), good.substr(0, 40), good.substr(0, good.size() - 1),
        good + "x", good + std::string(16, 0), with("NUMPY", "NUMPI"), with("<f8", "<f4"),
        with("False", "True "), with("(2, 3)", "(3, 2)"), with("(2, 3)", "(2, 4)"),
        with("(2, 3)", "(6,)  "), with("(2, 3)", "(2, -)"), fraction, negative, nan}) {
    EXPECT_EQ(FromNpy(bytes).status().code(), absl::StatusCode::kInvalidArgument) << bytes;
  }
  // Every cut and every changed byte of the header is either refused or read.
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(FromNpy(good.substr(0, i)).ok()) << i;
    std::string bytes = good;
    bytes[i] ^= 0x15;
    (void)FromNpy(bytes);
  }
}

}  // namespace
}  // namespace peerage
