#include "client/expert_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "client/npy_file.h"
#include "client/pixel_text.h"

namespace peerage {
namespace {

constexpr int kMargin = 16;

double Luminance(Colour c) { return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; }

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

TEST(HeatColourTest, GrowsLighterAllTheWay) {
  for (int i = 1; i <= 100; ++i) {
    EXPECT_GT(Luminance(HeatColour(i / 100.0)), Luminance(HeatColour((i - 1) / 100.0))) << i;
  }
  EXPECT_EQ(HeatColour(0), (Colour{0, 0, 4}));
  EXPECT_EQ(HeatColour(1), (Colour{252, 255, 164}));
  EXPECT_EQ(HeatColour(7), HeatColour(1));
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

TEST(ImageTest, SurvivesTheWayThroughAPngFile) {
  Image image(3, 2, {1, 2, 3});
  image.Fill(1, 1, 5, 5, {200, 100, 0});
  image.Fill(-4, 0, 5, 1, {9, 9, 9});
  const auto png = image.ToPng();
  ASSERT_TRUE(png.ok()) << png.status();

  png_image decoded = {};
  decoded.version = PNG_IMAGE_VERSION;
  ASSERT_NE(png_image_begin_read_from_memory(&decoded, png->data(), png->size()), 0);
  decoded.format = PNG_FORMAT_RGB;
  std::vector<uint8_t> pixels(PNG_IMAGE_SIZE(decoded));
  ASSERT_NE(png_image_finish_read(&decoded, nullptr, pixels.data(), 0, nullptr), 0);
  EXPECT_EQ(decoded.width, 3u);
  EXPECT_THAT(pixels, ::testing::ElementsAre(9, 9, 9, 1, 2, 3, 1, 2, 3,  //
                                             1, 2, 3, 200, 100, 0, 200, 100, 0));
}

TEST(ShortNumberTest, FitsUnderALegend) {
  EXPECT_EQ(ShortNumber(0), "0");
  EXPECT_EQ(ShortNumber(999), "999");
  EXPECT_EQ(ShortNumber(1000), "1K");
  EXPECT_EQ(ShortNumber(1234), "1.2K");
  EXPECT_EQ(ShortNumber(10'000), "10K");
  EXPECT_EQ(ShortNumber(3'400'000), "3.4M");
  EXPECT_EQ(ShortNumber(~uint64_t{0}), "18446744T");
}

TEST(NpyTest, IsAHeaderAndTwoRowsOfDoubles) {
  ExpertUsage usage;
  usage.selections = {3, 0, 7};
  usage.score_sums = {0.5, 0, 2.25};
  const std::string npy = ToNpy(usage);

  EXPECT_EQ(npy.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t data = 10 + static_cast<uint8_t>(npy[8]) + 256 * static_cast<uint8_t>(npy[9]);
  EXPECT_EQ(data % 64, 0u);
  EXPECT_EQ(npy[data - 1], '\n');
  EXPECT_THAT(npy, ::testing::HasSubstr("'shape': (2, 3)"));
  ASSERT_EQ(npy.size(), data + 6 * sizeof(double));
  double values[6];
  std::memcpy(values, npy.data() + data, sizeof(values));
  EXPECT_THAT(values, ::testing::ElementsAre(3, 0, 7, 0.5, 0, 2.25));
}

}  // namespace
}  // namespace peerage
