#include "model/experts/mixture_map.h"

#include <gtest/gtest.h>

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
  EXPECT_FALSE(DrawMixtureMap({Layer(0, std::vector<double>(1 << 20, 1))}).ok());
}

}  // namespace
}  // namespace peerage
