#include "model/experts/expert_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/time/civil_time.h"

namespace peerage {
namespace {

constexpr Colour kPaperColour = {255, 255, 255};

ExpertGrid GridOf(uint64_t num_experts, int maps = 1, int zoom = 1) {
  const auto grid = ArrangeExperts(num_experts, maps, zoom);
  EXPECT_TRUE(grid.ok()) << grid.status();
  return grid.value_or(ExpertGrid());
}

MapCaption CaptionOfTest() {
  const absl::TimeZone utc = absl::UTCTimeZone();
  return {.model = "seven",
          .experts = "layer 3, peer",
          .window = "recent",
          .start = absl::FromCivil(absl::CivilSecond(2031, 2, 3, 4, 5, 6), utc),
          .end = absl::FromCivil(absl::CivilSecond(2031, 2, 3, 4, 7, 8), utc),
          .tokens = 1234};
}

Image Draw(const std::vector<uint64_t>& selections, const ExpertGrid& grid, MapStyle style = {}) {
  return DrawExpertMap(selections, grid, CaptionOfTest(), style);
}

// The colour `x` and `y` pixels from the first expert of a map.
Colour At(const Image& image, const ExpertGrid& grid, int x, int y, int map = 0) {
  const MapCorner corner = CornerOfMap(grid, map);
  return image.at(corner.left + x, corner.top + y);
}

bool HasInk(const Image& image, int left, int top, int width, int height) {
  for (int y = top; y < top + height; ++y) {
    for (int x = left; x < left + width; ++x) {
      if (image.at(x, y) == Colour{0, 0, 0}) return true;
    }
  }
  return false;
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
  const ExpertGrid grid = GridOf(12, 3);
  const Image image = Draw(selections, grid);
  EXPECT_EQ(At(image, grid, 0, 0, 1), HeatColour(1));
  EXPECT_EQ(At(image, grid, 0, 0, 0), HeatColour(0));
  EXPECT_GE(CornerOfMap(grid, 1).left, CornerOfMap(grid, 0).left + 2 * grid.cell);
  EXPECT_EQ(CornerOfMap(grid, 1).top, CornerOfMap(grid, 0).top);
  EXPECT_EQ(CornerOfMap(grid, 2).left, CornerOfMap(grid, 0).left) << "below the first";
  EXPECT_GE(CornerOfMap(grid, 2).top, CornerOfMap(grid, 0).top + 2 * grid.cell);
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

TEST(ExpertGridTest, IsLargerWithAZoom) {
  EXPECT_EQ(GridOf(1024, 1, 3).cell, 3 * GridOf(1024).cell);
  EXPECT_EQ(ArrangeExperts(1024, 1, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ArrangeExperts(1024, 1, 9).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GridOf(1 << 20, 1, 8).cell, 8) << "8,192 pixels";
  EXPECT_EQ(ArrangeExperts(1025 * 1025, 1, 8).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(ExpertMapTest, PutsTheFirstSubKeyDownAndTheSecondAcross) {
  std::vector<uint64_t> selections(1024);
  selections[3 * 32 + 5] = 1000;
  selections[7] = 30;
  const ExpertGrid grid = GridOf(1024);
  const Image image = Draw(selections, grid);

  ASSERT_EQ(grid.cell, 16) << "32 experts on 512 pixels";
  EXPECT_EQ(At(image, grid, 5 * 16, 3 * 16), HeatColour(1));
  EXPECT_EQ(At(image, grid, 6 * 16 - 1, 4 * 16 - 1), HeatColour(1));
  EXPECT_EQ(At(image, grid, 6 * 16, 3 * 16), HeatColour(0));
  EXPECT_EQ(At(image, grid, 7 * 16, 0), HeatColour(std::log(31) / std::log(1001)));
}

TEST(ExpertMapTest, DrawsAMillionExpertsAsOnePixelEach) {
  std::vector<uint64_t> selections(1 << 20);
  selections.back() = 1;
  const ExpertGrid grid = GridOf(1 << 20);
  const Image image = Draw(selections, grid);

  EXPECT_EQ(At(image, grid, 1023, 1023), HeatColour(1));
  EXPECT_EQ(At(image, grid, 1022, 1023), HeatColour(0));
  EXPECT_EQ(At(image, grid, 1024, 1023), kPaperColour);
  EXPECT_LT(image.width(), 1024 + 100);
  EXPECT_LT(image.height(), 1024 + 250);
}

TEST(ExpertMapTest, IsAsWideAsAllItsMaps) {
  const ExpertGrid grid = GridOf(5 * 9, 5);
  const Image image = Draw(std::vector<uint64_t>(5 * 9), grid);
  EXPECT_EQ(grid.columns(), 3) << "five maps in three columns";
  EXPECT_EQ(grid.rows(), 2);
  EXPECT_EQ(CornerOfMap(grid, 2).left + 3 * grid.cell + 16, image.width());
  EXPECT_GT(image.height(), CornerOfMap(grid, 4).top + 3 * grid.cell);
}

TEST(ExpertMapTest, OfOneExpertIsOneColourWithPaperAround) {
  const ExpertGrid grid = GridOf(1);
  const Image image = Draw({5}, grid);
  for (const int y : {0, 511}) {
    for (const int x : {0, 511}) EXPECT_EQ(At(image, grid, x, y), HeatColour(1));
  }
  for (const int outside : {-1, 512}) {
    EXPECT_EQ(At(image, grid, 1, outside), kPaperColour);
    EXPECT_EQ(At(image, grid, outside, 1), kPaperColour);
  }
  const int right = image.width() - 1, bottom = image.height() - 1;
  for (const int y : {0, bottom}) {
    for (const int x : {0, right}) EXPECT_EQ(image.at(x, y), kPaperColour) << x << " " << y;
  }
}

TEST(ExpertMapTest, HasAllColoursInItsLegend) {
  const ExpertGrid grid = GridOf(100);
  const Image image = Draw(std::vector<uint64_t>(100, 3), grid);
  const int length = image.width() - 2 * 16;
  const int bar = CornerOfMap(grid, 0).top + 10 * grid.cell + 8 + Font(14).line_height() + 4;
  for (int x = 0; x < length; ++x) {
    EXPECT_EQ(image.at(16 + x, bar), HeatColour((x + 0.5) / length)) << x;
  }
  EXPECT_EQ(image.at(16 + length, bar), kPaperColour);
}

TEST(ExpertMapTest, SaysWhatItShowsAndWhen) {
  const ExpertGrid grid = GridOf(1024);
  const Image image = Draw(std::vector<uint64_t>(1024), grid);
  Image caption(image.width(), 60, kPaperColour);
  const Font title(18), text(14);
  title.Draw(caption, 16, 16, "seven, layer 3, peer", {0, 0, 0});
  text.Draw(caption, 16, 16 + title.line_height(),
            "recent window, 2031-02-03 04:05:06 to 04:07:08 UTC, 1,234 tokens", {0, 0, 0});
  for (int y = 0; y < 16 + title.line_height() + text.line_height(); ++y) {
    for (int x = 0; x < image.width(); ++x) ASSERT_EQ(image.at(x, y), caption.at(x, y));
  }
}

TEST(ExpertMapTest, CutsACaptionThatIsTooLong) {
  MapCaption caption = CaptionOfTest();
  caption.model = std::string(500, 'm');
  const Image image = DrawExpertMap({1}, GridOf(1), caption);
  EXPECT_EQ(image.width(), Draw({1}, GridOf(1)).width());
  EXPECT_FALSE(HasInk(image, image.width() - 16, 0, 16, 60)) << "the margin is free";
}

TEST(ExpertMapTest, NumbersItsRowsAndColumns) {
  const ExpertGrid grid = GridOf(1024);
  const Image image = Draw(std::vector<uint64_t>(1024), grid);
  const MapCorner corner = CornerOfMap(grid, 0);
  const auto column_mark = [&](int column) {
    return image.at(corner.left + column * 16 + 8, corner.top - 1) == Colour{0, 0, 0};
  };
  const auto row_mark = [&](int row) {
    return image.at(corner.left - 1, corner.top + row * 16 + 8) == Colour{0, 0, 0};
  };
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(column_mark(i), i % 5 == 0) << i;
    EXPECT_EQ(row_mark(i), i % 2 == 0) << i << ": numbers need less room beside rows";
  }
}

TEST(ExpertMapTest, NamesEachHead) {
  const ExpertGrid grid = GridOf(4 * 9, 4);
  const Image image = Draw(std::vector<uint64_t>(4 * 9), grid);
  Image name(image.width(), image.height(), kPaperColour);
  const Font text(14);
  const MapCorner corner = CornerOfMap(grid, 3);
  const int center = corner.left + 3 * grid.cell / 2;
  text.DrawCentred(name, center, corner.top - text.line_height(), "head 3", {0, 0, 0});
  for (int y = corner.top - text.line_height(); y < corner.top; ++y) {
    for (int x = center - 40; x < center + 40; ++x) ASSERT_EQ(image.at(x, y), name.at(x, y));
  }
}

TEST(ExpertMapTest, IsZoomedAsAWhole) {
  std::vector<uint64_t> selections(1024);
  selections[33] = 1;
  const ExpertGrid one = GridOf(1024), three = GridOf(1024, 1, 3);
  const Image small = Draw(selections, one), large = Draw(selections, three);
  EXPECT_EQ(At(large, three, 3 * 16, 3 * 16), HeatColour(1));
  EXPECT_EQ(At(large, three, 6 * 16, 6 * 16), HeatColour(0));
  EXPECT_NEAR(large.width(), 3 * small.width(), 9);
  EXPECT_NEAR(large.height(), 3 * small.height(), 30);
}

TEST(ExpertMapTest, ShowsTheLargestCountsApart) {
  const ExpertGrid grid = GridOf(4);
  const Image image = Draw({~uint64_t{0}, 1, 0, 0}, grid);
  EXPECT_EQ(At(image, grid, 0, 0), HeatColour(1));
  EXPECT_EQ(At(image, grid, 256, 0), HeatColour(std::log(2) / (64 * std::log(2))));
}

TEST(ExpertMapTest, LeavesPlacesWithoutAnExpertGrey) {
  const ExpertGrid grid = GridOf(42);
  const Image image = Draw(std::vector<uint64_t>(42, 1), grid);
  EXPECT_EQ(At(image, grid, 6 * grid.cell, 5 * grid.cell), HeatColour(1));
  EXPECT_EQ(At(image, grid, 0, 6 * grid.cell), (Colour{200, 200, 200}));
}

TEST(ExpertMapTest, DrawsUnusedExpertsToo) {
  const ExpertGrid grid = GridOf(4);
  EXPECT_EQ(At(Draw(std::vector<uint64_t>(4), grid), grid, 0, 0), HeatColour(0));
}

TEST(ExpertMapTest, DrawsOnALinearScaleInAnotherPalette) {
  const ExpertGrid grid = GridOf(4);
  const Image image =
      Draw({100, 25, 0, 50}, grid, {.scale = MapScale::kLinear, .palette = Palette::kGrey});
  EXPECT_EQ(At(image, grid, 0, 0), (Colour{255, 255, 255}));
  EXPECT_EQ(At(image, grid, 256, 0), (Colour{64, 64, 64}));
  EXPECT_EQ(At(image, grid, 0, 256), (Colour{0, 0, 0}));
  EXPECT_EQ(At(image, grid, 256, 256), (Colour{128, 128, 128}));
}

}  // namespace
}  // namespace peerage
