#include "model/experts/mixture_map.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace peerage {
namespace {

MixtureMapLayer Layer(uint32_t index, std::vector<double> scores,
                      std::vector<std::string> names = {}) {
  for (size_t i = names.size(); i < scores.size(); ++i) names.push_back(std::to_string(i));
  return {.kind = "mixture_ffn",
          .layer = index,
          .names = std::move(names),
          .scores = std::move(scores)};
}

MapCaption CaptionOfMixture() {
  return {.model = "bam",
          .experts = "2 layers",
          .window = "total",
          .start = absl::UnixEpoch(),
          .end = absl::UnixEpoch() + absl::Hours(25),
          .tokens = 7};
}

// A picture of one panel, and where its cells are.
struct Picture {
  explicit Picture(const std::vector<MixtureMapLayer>& layers, int zoom = 1)
      : image(DrawMixtureMap(layers, CaptionOfMixture(), zoom).value()),
        cells(CellsOfOnePanel(layers, zoom)) {}

  // A pixel of a cell, from its left upper corner.
  Colour Cell(int row, int column, int x = 1, int y = 1) const {
    return image.at(cells.left + column * cells.width + x, cells.top + row * cells.height + y);
  }
  bool CellHas(int row, int column, Colour ink) const {
    for (int y = 0; y < cells.height; ++y) {
      for (int x = 0; x < cells.width; ++x) {
        if (Cell(row, column, x, y) == ink) return true;
      }
    }
    return false;
  }

  Image image;
  MixtureCells cells;
};

TEST(MixtureMapTest, HasLayersDownAndExpertsAcross) {
  const Picture picture({Layer(0, {3, 1}), Layer(1, {0, 2}), Layer(2, {0, 0})});
  EXPECT_EQ(picture.Cell(0, 0), HeatColour(0.75));
  EXPECT_EQ(picture.Cell(0, 1), HeatColour(0.25));
  EXPECT_EQ(picture.Cell(1, 0), HeatColour(0));
  EXPECT_EQ(picture.Cell(1, 1), HeatColour(1));
  EXPECT_EQ(picture.Cell(2, 1), (Colour{200, 200, 200})) << "nothing was counted";
}

TEST(MixtureMapTest, WritesTheNamesOverTheirColumns) {
  const Picture picture({Layer(0, {1, 1}, {"Löwe", "b"})});
  const MixtureCells& cells = picture.cells;
  const Font text(14);
  Image name(picture.image.width(), picture.image.height(), {255, 255, 255});
  const int top = cells.top - text.line_height();
  text.DrawCentred(name, cells.left + cells.width / 2, top, "Löwe", {0, 0, 0});
  for (int y = top; y < cells.top; ++y) {
    for (int x = cells.left; x < cells.left + cells.width; ++x) {
      ASSERT_EQ(picture.image.at(x, y), name.at(x, y));
    }
  }
}

TEST(MixtureMapTest, SaysWhatItShowsAndWhen) {
  const Picture picture({Layer(0, {1, 1})});
  Image caption(picture.image.width(), 60, {255, 255, 255});
  const Font title(18), text(14);
  title.Draw(caption, 16, 16, "bam, 2 layers", {0, 0, 0});
  text.Draw(caption, 16, 16 + title.line_height(),
            "total window, 1970-01-01 00:00:00 to 1970-01-02 01:00:00 UTC, 7 tokens", {0, 0, 0});
  for (int y = 0; y < 16 + title.line_height() + text.line_height(); ++y) {
    for (int x = 0; x < caption.width(); ++x) ASSERT_EQ(picture.image.at(x, y), caption.at(x, y));
  }
}

TEST(MixtureMapTest, CutsNamesThatWouldMakeItWide) {
  const std::string longest = std::string(1000, 'x');
  const Picture cut({Layer(0, {1, 1}, {longest, "b"})});
  EXPECT_LE(cut.cells.width, 130);
  EXPECT_GT(cut.cells.width, 100);
}

TEST(MixtureMapTest, IsReadableAndLargerWithAZoom) {
  const Picture one({Layer(0, {3, 1})}), three({Layer(0, {3, 1})}, 3);
  EXPECT_GE(one.cells.height, 22);
  EXPECT_NEAR(three.cells.width, 3 * one.cells.width, 3);
  EXPECT_NEAR(three.cells.height, 3 * one.cells.height, 3);
  EXPECT_EQ(three.Cell(0, 0), HeatColour(0.75));
}

TEST(MixtureMapTest, HasPaperAroundItsCells) {
  const Picture picture({Layer(0, {5})});
  const MixtureCells& cells = picture.cells;
  EXPECT_EQ(picture.Cell(0, 0), HeatColour(1));
  EXPECT_EQ(picture.Cell(0, 0, cells.width - 1, cells.height - 1), HeatColour(1));
  const Colour paper = {255, 255, 255};
  EXPECT_EQ(picture.Cell(0, 0, cells.width, 0), paper);
  EXPECT_EQ(picture.Cell(0, 0, 0, cells.height), paper);
  EXPECT_EQ(picture.image.at(0, 0), paper);
  EXPECT_EQ(picture.image.at(picture.image.width() - 1, picture.image.height() - 1), paper);
}

TEST(MixtureMapTest, WritesOnDarkCellsInWhiteAndOnLightOnesInBlack) {
  const Picture picture({Layer(0, {3, 1})});
  EXPECT_TRUE(picture.CellHas(0, 0, {0, 0, 0}));
  EXPECT_FALSE(picture.CellHas(0, 0, {255, 255, 255}));
  EXPECT_TRUE(picture.CellHas(0, 1, {255, 255, 255}));
}

TEST(MixtureMapTest, LeavesALayerGreyWhoseScoresAreNoSums) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Picture picture({Layer(0, {1, nan}), Layer(1, {2, -1}), Layer(2, {1, 1})});
  const Colour grey = {200, 200, 200};
  for (const int row : {0, 1}) {
    for (const int column : {0, 1}) EXPECT_EQ(picture.Cell(row, column), grey);
  }
  EXPECT_EQ(picture.Cell(2, 0), HeatColour(0.5));
}

TEST(MixtureMapTest, GivesEachListOfNamesAPanel) {
  const std::vector<std::string> wide = {"one long name", "another one", "a third", "a fourth"};
  const std::vector<double> scores = {1, 1, 1, 1};
  const auto same =
      DrawMixtureMap({Layer(0, scores, wide), Layer(1, scores, wide)}, CaptionOfMixture());
  const auto other = DrawMixtureMap(
      {Layer(0, scores, wide), Layer(1, scores, {"a", "b", "c", "d"})}, CaptionOfMixture());
  EXPECT_GT(other->width(), same->width());
  EXPECT_LT(other->height(), same->height());
}

TEST(MixtureMapTest, GivesEachKindAPanel) {
  MixtureMapLayer attention = Layer(0, {1, 1});
  attention.kind = "mixture_attention";
  const auto one = DrawMixtureMap({Layer(0, {1, 1}), Layer(1, {1, 1})}, CaptionOfMixture());
  const auto two = DrawMixtureMap({Layer(0, {1, 1}), attention}, CaptionOfMixture());
  EXPECT_LT(two->height(), one->height());
}

TEST(MixtureMapTest, RefusesWhatCannotBeDrawn) {
  EXPECT_FALSE(DrawMixtureMap({}, {}).ok());
  EXPECT_EQ(DrawMixtureMap({Layer(0, std::vector<double>(1 << 20, 1))}, {}).status().code(),
            absl::StatusCode::kOutOfRange);
  for (const int zoom : {0, 9}) {
    EXPECT_EQ(DrawMixtureMap({Layer(0, {1, 1})}, {}, zoom).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace peerage
