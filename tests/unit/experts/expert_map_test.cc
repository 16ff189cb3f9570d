#include "model/experts/expert_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace peerage {
namespace {

constexpr int kMargin = 16;
constexpr int kMapGap = 8;
constexpr int kLegendHeight = 16 + 4 + kTextHeight;  // the bar, a gap, its values
constexpr Colour kPaperColour = {255, 255, 255};

ExpertGrid GridOf(uint64_t num_experts, int maps = 1) {
  const auto grid = ArrangeExperts(num_experts, maps);
  EXPECT_TRUE(grid.ok()) << grid.status();
  return grid.value_or(ExpertGrid());
}

TEST(ExpertGridTest, IsASquareWhereTheExpertsAre) {
  EXPECT_EQ(GridOf(1 << 20).side, 1024);
  EXPECT_EQ(GridOf(1 << 20).maps, 1);
  EXPECT_EQ(GridOf(529).side, 23);
  EXPECT_EQ(GridOf(1).side, 1);
}

TEST(ExpertGridTest, HasAMapForEachHeadWithItsOwnExperts) {
  EXPECT_EQ(GridOf(8 * 1024, 8).side, 32);
  EXPECT_EQ(GridOf(8 * 1024, 8).experts, 1024u);

  std::vector<uint64_t> selections(3 * 4);
  selections[4] = 9;  // the second head's first expert: the map to the right
  const Image image = DrawExpertMap(selections, GridOf(12, 3));
  const int scale = (image.width() - 2 * kMargin - 8) / 4;
  EXPECT_EQ(image.at(kMargin + 2 * scale + 8, kMargin), HeatColour(1));
  EXPECT_EQ(image.at(kMargin, kMargin), HeatColour(0));
}

TEST(ExpertGridTest, RoundsUpWhereNothingIsSquare) { EXPECT_EQ(GridOf(6 * 7).side, 7); }

TEST(ExpertGridTest, RefusesWhatCannotBeDrawn) {
  EXPECT_FALSE(ArrangeExperts(0, 1).ok());
  EXPECT_FALSE(ArrangeExperts(10, 3).ok());
  EXPECT_FALSE(ArrangeExperts(uint64_t{1} << 40, 1).ok());
  EXPECT_TRUE(ArrangeExperts(uint64_t{1} << 26, 1).ok());
}

TEST(ExpertGridTest, HasAsManyExpertsAcrossAsAPictureCanHold) {
  EXPECT_EQ(ArrangeExperts((uint64_t{1} << 26) + 1, 1).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(GridOf(uint64_t{1} << 26, 4).side, 4096) << "two maps beside each other";
  EXPECT_EQ(ArrangeExperts(uint64_t{1} << 28, 4).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(ExpertMapTest, PutsTheFirstSubKeyDownAndTheSecondAcross) {
  std::vector<uint64_t> selections(1024);
  selections[3 * 32 + 5] = 1000;
  selections[7] = 30;
  const Image image = DrawExpertMap(selections, GridOf(1024));

  constexpr int kScale = 16;  // 32 experts on 512 pixels
  EXPECT_EQ(image.width(), 512 + 2 * kMargin);
  EXPECT_EQ(image.at(kMargin + 5 * kScale, kMargin + 3 * kScale), HeatColour(1));
  EXPECT_EQ(image.at(kMargin + 6 * kScale - 1, kMargin + 4 * kScale - 1), HeatColour(1));
  EXPECT_EQ(image.at(kMargin + 6 * kScale, kMargin + 3 * kScale), HeatColour(0));
  EXPECT_EQ(image.at(kMargin + 7 * kScale, kMargin), HeatColour(std::log(31) / std::log(1001)));
}

TEST(ExpertMapTest, DrawsAMillionExpertsAsOnePixelEach) {
  std::vector<uint64_t> selections(1 << 20);
  selections.back() = 1;
  const Image image = DrawExpertMap(selections, GridOf(1 << 20));

  EXPECT_EQ(image.width(), 1024 + 2 * kMargin);
  EXPECT_EQ(image.at(kMargin + 1023, kMargin + 1023), HeatColour(1));
  EXPECT_EQ(image.at(kMargin + 1022, kMargin + 1023), HeatColour(0));
}

TEST(ExpertMapTest, IsNeverMuchLargerThanItsExperts) {
  const Image million = DrawExpertMap(std::vector<uint64_t>(1 << 20), GridOf(1 << 20));
  EXPECT_EQ(million.height(), 1024 + 3 * kMargin + kLegendHeight);

  const Image odd = DrawExpertMap(std::vector<uint64_t>(7), GridOf(7));
  EXPECT_EQ(odd.width(), 3 * 171 + 2 * kMargin) << "171 is the least that makes three 512 wide";
  EXPECT_EQ(odd.height(), 3 * 171 + 3 * kMargin + kLegendHeight);

  const Image maps = DrawExpertMap(std::vector<uint64_t>(5 * 9), GridOf(5 * 9, 5));
  EXPECT_EQ(maps.width(), 9 * 57 + 2 * kMapGap + 2 * kMargin) << "five maps in three columns";
  EXPECT_EQ(maps.height(), 6 * 57 + kMapGap + 3 * kMargin + kLegendHeight) << "and two rows";
}

TEST(ExpertMapTest, OfOneExpertIsOneColour) {
  const Image image = DrawExpertMap({5}, GridOf(1));
  for (const int y : {kMargin, kMargin + 511}) {
    for (const int x : {kMargin, kMargin + 511}) EXPECT_EQ(image.at(x, y), HeatColour(1));
  }
  for (const int y : {kMargin - 1, kMargin + 512}) EXPECT_EQ(image.at(kMargin, y), kPaperColour);
  for (const int x : {kMargin - 1, kMargin + 512}) EXPECT_EQ(image.at(x, kMargin), kPaperColour);
}

TEST(ExpertMapTest, HasPaperInItsCornersAndAllColoursInItsLegend) {
  const Image image = DrawExpertMap(std::vector<uint64_t>(100, 3), GridOf(100));
  const int right = image.width() - 1;
  const int bottom = image.height() - 1;
  for (const int y : {0, bottom}) {
    for (const int x : {0, right}) EXPECT_EQ(image.at(x, y), kPaperColour) << x << " " << y;
  }
  const int length = image.width() - 2 * kMargin;
  const int bar =
      image.width() + kMargin - 1;  // its last row but one: the map is a square above it
  EXPECT_EQ(image.at(kMargin, bar), HeatColour(0.5 / length));
  EXPECT_EQ(image.at(kMargin + length - 1, bar), HeatColour((length - 0.5) / length));
  EXPECT_EQ(image.at(kMargin + length, bar), kPaperColour);
}

TEST(ExpertMapTest, ShowsTheLargestCountsApart) {
  const Image image = DrawExpertMap({~uint64_t{0}, 1, 0, 0}, GridOf(4));
  EXPECT_EQ(image.at(kMargin, kMargin), HeatColour(1));
  EXPECT_EQ(image.at(kMargin + 256, kMargin), HeatColour(std::log(2) / (64 * std::log(2))));
}

TEST(ExpertMapTest, LeavesPlacesWithoutAnExpertGrey) {
  const Image image = DrawExpertMap(std::vector<uint64_t>(42, 1), GridOf(42));
  const int scale = (image.width() - 2 * kMargin) / 7;
  EXPECT_EQ(image.at(kMargin + 6 * scale, kMargin + 5 * scale), HeatColour(1));
  EXPECT_EQ(image.at(kMargin, kMargin + 6 * scale), (Colour{200, 200, 200}));
}

TEST(ExpertMapTest, DrawsUnusedExpertsToo) {
  const Image image = DrawExpertMap(std::vector<uint64_t>(4), GridOf(4));
  EXPECT_EQ(image.at(kMargin, kMargin), HeatColour(0));
}

TEST(ExpertMapTest, DrawsOnALinearScaleInAnotherPalette) {
  const Image image = DrawExpertMap({100, 25, 0, 50}, GridOf(4),
                                    {.scale = MapScale::kLinear, .palette = Palette::kGrey});
  const int cell = 256;
  EXPECT_EQ(image.at(kMargin, kMargin), (Colour{255, 255, 255}));
  EXPECT_EQ(image.at(kMargin + cell, kMargin), (Colour{64, 64, 64}));
  EXPECT_EQ(image.at(kMargin, kMargin + cell), (Colour{0, 0, 0}));
  EXPECT_EQ(image.at(kMargin + cell, kMargin + cell), (Colour{128, 128, 128}));
}

}  // namespace
}  // namespace peerage
