#include "model/experts/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <limits>
#include <string>
#include <vector>

namespace peerage {
namespace {

double Luminance(Colour c) { return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; }

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

TEST(ImageTest, IsFilledInsideItsEdgesOnly) {
  Image image(2, 2, {1, 1, 1});
  image.Fill(2, 0, 1, 1, {9, 9, 9});
  image.Fill(0, 2, 1, 1, {9, 9, 9});
  image.Fill(-3, -3, 3, 3, {9, 9, 9});
  image.Fill(0, 0, 0, 2, {9, 9, 9});
  image.Fill(1, 1, -1, -1, {9, 9, 9});
  for (const int y : {0, 1}) {
    for (const int x : {0, 1}) EXPECT_EQ(image.at(x, y), (Colour{1, 1, 1})) << x << " " << y;
  }
  image.Fill(-1, -1, 9, 9, {9, 9, 9});
  EXPECT_EQ(image.at(1, 1), (Colour{9, 9, 9}));
}

TEST(ImageTest, IsBlendedInsideItsEdgesOnly) {
  Image image(2, 1, {0, 100, 255});
  image.Blend(0, 0, {255, 200, 0}, 128);
  EXPECT_EQ(image.at(0, 0), (Colour{128, 150, 127}));
  image.Blend(1, 0, {1, 2, 3}, 0);
  EXPECT_EQ(image.at(1, 0), (Colour{0, 100, 255}));
  image.Blend(1, 0, {1, 2, 3}, 255);
  EXPECT_EQ(image.at(1, 0), (Colour{1, 2, 3}));
  for (const int outside : {-1, 2}) {
    image.Blend(outside, 0, {9, 9, 9}, 255);
    image.Blend(0, outside, {9, 9, 9}, 255);
  }
  EXPECT_EQ(image.at(0, 0), (Colour{128, 150, 127}));
}

TEST(ImageTest, IsAPngFileThatSaysItsSize) {
  const std::string png = *Image(517, 1, {0, 0, 0}).ToPng();
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(png.substr(12, 4), "IHDR");
  EXPECT_EQ(png.substr(16, 8), std::string("\0\0\x02\x05\0\0\0\x01", 8));
}

TEST(HeatColourTest, TakesAnyNumber) {
  EXPECT_EQ(HeatColour(-1), HeatColour(0));
  EXPECT_EQ(HeatColour(std::numeric_limits<double>::quiet_NaN()), HeatColour(0));
  EXPECT_EQ(HeatColour(std::numeric_limits<double>::infinity()), HeatColour(1));
}

TEST(HeatColourTest, GrowsLighterAllTheWay) {
  for (int i = 1; i <= 100; ++i) {
    EXPECT_GT(Luminance(HeatColour(i / 100.0)), Luminance(HeatColour((i - 1) / 100.0))) << i;
  }
  EXPECT_EQ(HeatColour(0), (Colour{0, 0, 4}));
  EXPECT_EQ(HeatColour(1), (Colour{252, 255, 164}));
  EXPECT_EQ(HeatColour(7), HeatColour(1));
}

TEST(HeatColourTest, GrowsLighterInEveryPalette) {
  for (const Palette palette : {Palette::kInferno, Palette::kViridis, Palette::kGrey}) {
    for (int i = 1; i <= 100; ++i) {
      EXPECT_GT(Luminance(HeatColour(i / 100.0, palette)),
                Luminance(HeatColour((i - 1) / 100.0, palette)))
          << i;
    }
  }
  EXPECT_EQ(HeatColour(0, Palette::kViridis), (Colour{68, 1, 84}));
  EXPECT_EQ(HeatColour(1, Palette::kViridis), (Colour{253, 231, 37}));
  EXPECT_EQ(HeatColour(0.5, Palette::kGrey), (Colour{128, 128, 128}));
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

}  // namespace
}  // namespace peerage
