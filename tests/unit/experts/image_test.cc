#include "model/experts/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

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

TEST(HeatColourTest, GrowsLighterAllTheWay) {
  for (int i = 1; i <= 100; ++i) {
    EXPECT_GT(Luminance(HeatColour(i / 100.0)), Luminance(HeatColour((i - 1) / 100.0))) << i;
  }
  EXPECT_EQ(HeatColour(0), (Colour{0, 0, 4}));
  EXPECT_EQ(HeatColour(1), (Colour{252, 255, 164}));
  EXPECT_EQ(HeatColour(7), HeatColour(1));
}

TEST(PixelTextTest, HasEveryLetterSoThatNamesCanBeRead) {
  for (const char letter : std::string("abcdefghijklmnopqrstuvwxyz0123456789-_%.")) {
    Image image(8, kTextHeight, {255, 255, 255});
    DrawText(image, 0, 0, std::string(1, letter), {0, 0, 0});
    int ink = 0;
    for (int y = 0; y < kTextHeight; ++y) {
      for (int x = 0; x < 8; ++x) ink += image.at(x, y) == Colour{0, 0, 0};
    }
    EXPECT_GT(ink, 0) << letter;
  }
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
