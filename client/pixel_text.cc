#include "client/pixel_text.h"

#include <array>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace peerage {
namespace {

constexpr int kRows = 5;
constexpr int kColumns = 3;
constexpr int kPixel = kTextHeight / kRows;

struct Glyph {
  char character;
  std::array<std::string_view, kRows> rows;
};

constexpr Glyph kGlyphs[] = {
    {'0', {"###", "# #", "# #", "# #", "###"}}, {'1', {" # ", "## ", " # ", " # ", "###"}},
    {'2', {"###", "  #", "###", "#  ", "###"}}, {'3', {"###", "  #", "###", "  #", "###"}},
    {'4', {"# #", "# #", "###", "  #", "  #"}}, {'5', {"###", "#  ", "###", "  #", "###"}},
    {'6', {"###", "#  ", "###", "# #", "###"}}, {'7', {"###", "  #", " # ", " # ", " # "}},
    {'8', {"###", "# #", "###", "# #", "###"}}, {'9', {"###", "# #", "###", "  #", "###"}},
    {'.', {"   ", "   ", "   ", "   ", " # "}}, {'K', {"# #", "## ", "#  ", "## ", "# #"}},
    {'M', {"# #", "###", "###", "# #", "# #"}}, {'B', {"## ", "# #", "## ", "# #", "## "}},
    {'T', {"###", " # ", " # ", " # ", " # "}}, {'A', {"###", "# #", "###", "# #", "# #"}},
    {'C', {"###", "#  ", "#  ", "#  ", "###"}}, {'D', {"## ", "# #", "# #", "# #", "## "}},
    {'E', {"###", "#  ", "## ", "#  ", "###"}}, {'F', {"###", "#  ", "## ", "#  ", "#  "}},
    {'G', {"###", "#  ", "# #", "# #", "###"}}, {'H', {"# #", "# #", "###", "# #", "# #"}},
    {'I', {"###", " # ", " # ", " # ", "###"}}, {'J', {"  #", "  #", "  #", "# #", "###"}},
    {'L', {"#  ", "#  ", "#  ", "#  ", "###"}}, {'N', {"## ", "# #", "# #", "# #", "# #"}},
    {'O', {" # ", "# #", "# #", "# #", " # "}}, {'P', {"###", "# #", "###", "#  ", "#  "}},
    {'Q', {" # ", "# #", "# #", "## ", " ##"}}, {'R', {"## ", "# #", "## ", "# #", "# #"}},
    {'S', {" ##", "#  ", " # ", "  #", "## "}}, {'U', {"# #", "# #", "# #", "# #", "###"}},
    {'V', {"# #", "# #", "# #", "# #", " # "}}, {'W', {"# #", "# #", "###", "###", "# #"}},
    {'X', {"# #", "# #", " # ", "# #", "# #"}}, {'Y', {"# #", "# #", " # ", " # ", " # "}},
    {'Z', {"###", "  #", " # ", "#  ", "###"}}, {'-', {"   ", "   ", "###", "   ", "   "}},
    {'_', {"   ", "   ", "   ", "   ", "###"}}, {'%', {"# #", "  #", " # ", "#  ", "# #"}},
};

}  // namespace

int TextWidth(const std::string& text) {
  return static_cast<int>(text.size()) * (kColumns + 1) * kPixel - kPixel;
}

void DrawText(Image& image, int left, int top, const std::string& text, Colour colour) {
  for (const char character : text) {
    for (const Glyph& glyph : kGlyphs) {
      if (glyph.character != absl::ascii_toupper(character)) continue;
      for (int y = 0; y < kRows; ++y) {
        for (int x = 0; x < kColumns; ++x) {
          if (glyph.rows[y][x] != '#') continue;
          image.Fill(left + x * kPixel, top + y * kPixel, kPixel, kPixel, colour);
        }
      }
    }
    left += (kColumns + 1) * kPixel;
  }
}

std::string ShortNumber(uint64_t number) {
  constexpr std::pair<double, const char*> kUnits[] = {
      {1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
  const auto value = static_cast<double>(number);
  for (const auto& [size, name] : kUnits) {
    if (value < size) continue;
    const double scaled = value / size;
    std::string digits = absl::StrFormat(scaled < 9.95 ? "%.1f" : "%.0f", scaled);
    return absl::StrCat(absl::StripSuffix(digits, ".0"), name);
  }
  return absl::StrCat(number);
}

}  // namespace peerage
