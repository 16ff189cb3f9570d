#include "client/mixture_map.h"

#include <gtest/gtest.h>

#include <vector>

#include "client/expert_map.h"
#include "client/pixel_text.h"

namespace peerage {
namespace {

// Where the cells of a picture of one panel begin: the margin and the digit of a layer, title and
// names above.
constexpr int kTop = 16 + 2 * 18 - 4, kCellWidth = 48, kCellHeight = 18;
const int kLeft = 16 + TextWidth("0") + 8;

ExpertUsage Usage(uint32_t layer, std::vector<double> scores) {
  ExpertUsage usage;
  usage.header.set_layer(layer);
  usage.header.set_kind(v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
  usage.selections.resize(scores.size(), 1);
  usage.score_sums = std::move(scores);
  return usage;
}

Colour Cell(const Image& image, int row, int column) {
  return image.at(kLeft + column * kCellWidth + 1, kTop + row * kCellHeight + 1);
}

TEST(MixtureMapTest, HasLayersDownAndExpertsAcross) {
  const auto image = DrawMixtureMap({Usage(0, {3, 1}), Usage(1, {0, 2}), Usage(2, {0, 0})}, {});
  ASSERT_TRUE(image.ok()) << image.status();

  EXPECT_EQ(Cell(*image, 0, 0), HeatColour(0.75));
  EXPECT_EQ(Cell(*image, 0, 1), HeatColour(0.25));
  EXPECT_EQ(Cell(*image, 1, 0), HeatColour(0));
  EXPECT_EQ(Cell(*image, 1, 1), HeatColour(1));
  EXPECT_EQ(Cell(*image, 2, 1), (Colour{200, 200, 200})) << "nothing was counted";
}

TEST(MixtureMapTest, WritesTheNamesOverTheirColumns) {
  v1::ListModelsResponse models;
  v1::ExpertLayer& layer = *models.add_models()->add_expert_layers();
  layer.set_kind(v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
  layer.add_expert_names("law");
  const auto ink_over = [](const Image& image, int column) {
    int ink = 0;
    for (int y = kTop - kTextHeight - 4; y < kTop; ++y) {
      for (int x = 0; x < kCellWidth; ++x) {
        ink += image.at(kLeft + column * kCellWidth + x, y) == Colour{0, 0, 0};
      }
    }
    return ink;
  };
  const auto named = DrawMixtureMap({Usage(0, {1, 1})}, ExpertNames(models));
  const auto numbered = DrawMixtureMap({Usage(0, {1, 1})}, {});

  EXPECT_GT(ink_over(*named, 0), ink_over(*numbered, 0)) << "LAW has more ink than 0";
  EXPECT_EQ(ink_over(*named, 1), ink_over(*numbered, 1));
}

TEST(MixtureMapTest, GivesEachKindAPanel) {
  ExpertUsage attention = Usage(0, {1, 1});
  attention.header.set_kind(v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION);
  const auto one = DrawMixtureMap({Usage(0, {1, 1}), Usage(1, {1, 1})}, {});
  const auto two = DrawMixtureMap({Usage(0, {1, 1}), attention}, {});

  EXPECT_GT(two->width(), one->width());
  EXPECT_LT(two->height(), one->height());
}

TEST(MixtureMapTest, RefusesWhatCannotBeDrawn) {
  EXPECT_FALSE(DrawMixtureMap({}, {}).ok());
  EXPECT_FALSE(DrawMixtureMap({Usage(0, std::vector<double>(1 << 20, 1))}, {}).ok());
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

}  // namespace
}  // namespace peerage
