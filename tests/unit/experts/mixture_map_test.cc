#include "model/experts/mixture_map.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace peerage {
namespace {

// Where the cells of a picture of one panel begin: the margin and the digit of a layer, title and
// names above.
constexpr int kTop = 16 + 2 * 18 - 4, kCellWidth = 48, kCellHeight = 18;
const int kLeft = 16 + TextWidth("0") + 8;

MixtureMapLayer Layer(uint32_t index, std::vector<double> scores,
                      std::vector<std::string> names = {}) {
  for (size_t i = names.size(); i < scores.size(); ++i) names.push_back(std::to_string(i));
  return {.kind = "mixture_ffn",
          .layer = index,
          .names = std::move(names),
          .scores = std::move(scores)};
}

Colour Cell(const Image& image, int row, int column) {
  return image.at(kLeft + column * kCellWidth + 1, kTop + row * kCellHeight + 1);
}

TEST(MixtureMapTest, HasLayersDownAndExpertsAcross) {
  const auto image = DrawMixtureMap({Layer(0, {3, 1}), Layer(1, {0, 2}), Layer(2, {0, 0})});
  ASSERT_TRUE(image.ok()) << image.status();

  EXPECT_EQ(Cell(*image, 0, 0), HeatColour(0.75));
  EXPECT_EQ(Cell(*image, 0, 1), HeatColour(0.25));
  EXPECT_EQ(Cell(*image, 1, 0), HeatColour(0));
  EXPECT_EQ(Cell(*image, 1, 1), HeatColour(1));
  EXPECT_EQ(Cell(*image, 2, 1), (Colour{200, 200, 200})) << "nothing was counted";
}

TEST(MixtureMapTest, WritesTheNamesOverTheirColumns) {
  const auto ink_over = [](const Image& image, int column) {
    int ink = 0;
    for (int y = kTop - kTextHeight - 4; y < kTop; ++y) {
      for (int x = 0; x < kCellWidth; ++x) {
        ink += image.at(kLeft + column * kCellWidth + x, y) == Colour{0, 0, 0};
      }
    }
    return ink;
  };
  const auto named = DrawMixtureMap({Layer(0, {1, 1}, {"law"})});
  const auto numbered = DrawMixtureMap({Layer(0, {1, 1})});

  EXPECT_GT(ink_over(*named, 0), ink_over(*numbered, 0)) << "LAW has more ink than 0";
  EXPECT_EQ(ink_over(*named, 1), ink_over(*numbered, 1));
}

TEST(MixtureMapTest, DrawsNamesAsTheyAreAndBlanksForWhatIsNoLetter) {
  const auto hostile = DrawMixtureMap({Layer(0, {1, 1}, {"\n\x1b[", "\xff\xc3\xa9"})});
  const auto blank = DrawMixtureMap({Layer(0, {1, 1}, {"   ", "   "})});
  EXPECT_EQ(*hostile->ToPng(), *blank->ToPng());
}

TEST(MixtureMapTest, CutsNamesThatWouldMakeItWide) {
  const std::string twelve = "abcdefghijkl";
  const auto cut = DrawMixtureMap({Layer(0, {1, 1}, {twelve + std::string(1000, 'x'), twelve})});
  const auto whole = DrawMixtureMap({Layer(0, {1, 1}, {twelve, twelve})});
  EXPECT_EQ(*cut->ToPng(), *whole->ToPng());
  EXPECT_EQ(whole->width(), kLeft + 2 * (TextWidth(twelve) + 8) + 16);
}

TEST(MixtureMapTest, OfOneExpertIsOneCellWithPaperAround) {
  const auto image = DrawMixtureMap({Layer(0, {5})});
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->height(), 3 * kCellHeight + 2 * 16);
  EXPECT_EQ(Cell(*image, 0, 0), HeatColour(1));
  EXPECT_EQ(image->at(kLeft + kCellWidth - 1, kTop + kCellHeight - 1), HeatColour(1));
  const Colour paper = {255, 255, 255};
  EXPECT_EQ(image->at(kLeft + kCellWidth, kTop), paper);
  EXPECT_EQ(image->at(kLeft, kTop + kCellHeight), paper);
  EXPECT_EQ(image->at(0, 0), paper);
  EXPECT_EQ(image->at(image->width() - 1, image->height() - 1), paper);
}

TEST(MixtureMapTest, WritesOnDarkCellsInWhiteAndOnLightOnesInBlack) {
  const auto image = DrawMixtureMap({Layer(0, {3, 1})});
  const auto has = [&image](int column, Colour ink) {
    for (int y = kTop; y < kTop + kCellHeight; ++y) {
      for (int x = 0; x < kCellWidth; ++x) {
        if (image->at(kLeft + column * kCellWidth + x, y) == ink) return true;
      }
    }
    return false;
  };
  EXPECT_TRUE(has(0, {0, 0, 0}));
  EXPECT_FALSE(has(0, {255, 255, 255}));
  EXPECT_TRUE(has(1, {255, 255, 255}));
}

TEST(MixtureMapTest, LeavesALayerGreyWhoseScoresAreNoSums) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto image = DrawMixtureMap({Layer(0, {1, nan}), Layer(1, {2, -1}), Layer(2, {1, 1})});
  const Colour grey = {200, 200, 200};
  for (const int row : {0, 1}) {
    for (const int column : {0, 1}) EXPECT_EQ(Cell(*image, row, column), grey);
  }
  EXPECT_EQ(Cell(*image, 2, 0), HeatColour(0.5));
}

TEST(MixtureMapTest, GivesEachListOfNamesAPanel) {
  const auto same = DrawMixtureMap({Layer(0, {1, 1}, {"a", "b"}), Layer(1, {1, 1}, {"a", "b"})});
  const auto other = DrawMixtureMap({Layer(0, {1, 1}, {"a", "b"}), Layer(1, {1, 1}, {"a", "c"})});
  EXPECT_GT(other->width(), same->width());
}

TEST(MixtureMapTest, GivesEachKindAPanel) {
  MixtureMapLayer attention = Layer(0, {1, 1});
  attention.kind = "mixture_attention";
  const auto one = DrawMixtureMap({Layer(0, {1, 1}), Layer(1, {1, 1})});
  const auto two = DrawMixtureMap({Layer(0, {1, 1}), attention});

  EXPECT_GT(two->width(), one->width());
  EXPECT_LT(two->height(), one->height());
}

TEST(MixtureMapTest, RefusesWhatCannotBeDrawn) {
  EXPECT_FALSE(DrawMixtureMap({}).ok());
  EXPECT_EQ(DrawMixtureMap({Layer(0, std::vector<double>(1 << 20, 1))}).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_FALSE(DrawMixtureMap({Layer(0, std::vector<double>(1 << 20, 1))}).ok());
}

}  // namespace
}  // namespace peerage
