#include "model/experts/font.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace peerage {
namespace {

constexpr Colour kPaper = {255, 255, 255};
constexpr Colour kInk = {0, 0, 0};

// How dark each pixel of a text is, row by row.
std::vector<std::vector<int>> Ink(const std::string& text, int size = 20, int width = 60) {
  const Font font(size);
  Image image(width, font.line_height(), kPaper);
  font.Draw(image, 0, 0, text, kInk);
  std::vector<std::vector<int>> rows(image.height());
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < width; ++x) rows[y].push_back(255 - image.at(x, y)[0]);
  }
  return rows;
}

int Sum(const std::vector<std::vector<int>>& rows) {
  int sum = 0;
  for (const auto& row : rows) {
    for (const int ink : row) sum += ink;
  }
  return sum;
}

TEST(FontTest, DrawsEveryCharacterDifferently) {
  std::set<std::vector<std::vector<int>>> pictures;
  const std::vector<std::string> characters = {"é", "e", "E", "ß", "Ж", "ж", "→", "…", "0",     "O",
                                               "o", "l", "1", "%", "_", "-", ",", ".", "\uFFFD"};
  for (const std::string& character : characters) {
    EXPECT_GT(Sum(Ink(character)), 0) << character;
    EXPECT_TRUE(pictures.insert(Ink(character)).second) << character;
  }
}

// An I is a stem of its height without anything beside it.
TEST(FontTest, DrawsLettersAsTheyAre) {
  const auto letter = Ink("I", 40);
  int rows_with_ink = 0;
  for (const auto& row : letter) {
    int width = 0;
    for (const int ink : row) width += ink > 127;
    rows_with_ink += width > 0;
    EXPECT_TRUE(width == 0 || (width >= 3 && width <= 5)) << width;
  }
  EXPECT_NEAR(rows_with_ink, 0.73 * 40, 1) << "DejaVu's capitals";
}

TEST(FontTest, ReplacesWhatIsNoTextAndWhatItDoesNotHave) {
  const auto replacement = Ink("\uFFFD");
  for (const char* text : {"\x1b", "\n", "\xff", "\xc3", "\u0085", "\U0010FFFD"}) {
    EXPECT_EQ(Ink(text), replacement);
  }
  EXPECT_EQ(Ink("\xe2\x82x"), Ink("\uFFFDx")) << "one for the unfinished part";
}

TEST(FontTest, IsAsWideAsItSays) {
  const Font font(20);
  EXPECT_EQ(font.Width(""), 0);
  EXPECT_GT(font.Width("W"), font.Width("i"));
  EXPECT_NEAR(font.Width("HH"), 2 * font.Width("H"), 1);
  Image image(200, font.line_height(), kPaper);
  font.Draw(image, 50, 0, "Hamburgefonts", kInk);
  const int end = 50 + font.Width("Hamburgefonts");
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < 50; ++x) EXPECT_EQ(image.at(x, y), kPaper);
    for (int x = end; x < 200; ++x) EXPECT_EQ(image.at(x, y), kPaper);
  }
}

TEST(FontTest, FitsATextIntoAWidth) {
  const Font font(20);
  const std::string text = "ein schöner langer Name";
  EXPECT_EQ(font.Fit(text, font.Width(text)), text);
  for (int width = font.Width("…"); width < font.Width(text); ++width) {
    const std::string fitting = font.Fit(text, width);
    EXPECT_LE(font.Width(fitting), width);
    EXPECT_EQ(fitting.substr(fitting.size() - 3), "…");
    EXPECT_EQ(text.substr(0, fitting.size() - 3), fitting.substr(0, fitting.size() - 3));
  }
  EXPECT_EQ(font.Fit("ööööö", font.Width("öö…")), "öö…") << "no half character";
}

TEST(FontTest, TurnsATextToTheLeft) {
  const Font font(20);
  const int width = font.Width("key"), height = font.line_height();
  Image level(width, height, kPaper), upright(height, width, kPaper);
  font.Draw(level, 0, 0, "key", kInk);
  font.DrawUpwards(upright, 0, 0, "key", kInk);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) EXPECT_EQ(upright.at(y, width - 1 - x), level.at(x, y));
  }
}

TEST(FontTest, LeavesOutWhatLiesOutsideThePicture) {
  const Font font(20);
  Image image(10, 10, kPaper);
  font.Draw(image, -30, -5, "a long text that covers it all and more", kInk);
  font.DrawUpwards(image, -5, -30, "a long text that covers it all and more", kInk);
  int covered = 0;
  for (int y = 0; y < 10; ++y) {
    for (int x = 0; x < 10; ++x) covered += image.at(x, y) != kPaper;
  }
  EXPECT_GT(covered, 0);
}

}  // namespace
}  // namespace peerage
