#include "model/experts/font.h"

#include <ft2build.h>
#include FT_FREETYPE_H

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/utf8.h"
#include "model/experts/font_file.h"

namespace peerage {
namespace {

constexpr char32_t kReplacement = 0xFFFD;
constexpr absl::string_view kEllipsis = "…";

std::vector<char32_t> CodePoints(absl::string_view text) {
  std::vector<char32_t> points;
  while (!text.empty()) {
    const Utf8Prefix next = ReadUtf8(text);
    const bool shown = next.kind == Utf8Prefix::Kind::kCodePoint && next.code_point >= 0x20 &&
                       !(next.code_point >= 0x7F && next.code_point < 0xA0);
    points.push_back(shown ? next.code_point : kReplacement);
    text.remove_prefix(next.length);
  }
  return points;
}

}  // namespace

struct Font::Face {
  FT_Library library = nullptr;
  FT_Face face = nullptr;

  Face() = default;
  ~Face() {
    FT_Done_Face(face);
    FT_Done_FreeType(library);
  }
  Face(const Face&) = delete;
  Face& operator=(const Face&) = delete;

  // The glyph with its outline hinted in height alone, so that widths are those of the design.
  FT_GlyphSlot Load(char32_t code_point, FT_Int32 flags) const {
    FT_UInt index = FT_Get_Char_Index(face, code_point);
    if (index == 0) index = FT_Get_Char_Index(face, kReplacement);
    return FT_Load_Glyph(face, index, flags | FT_LOAD_TARGET_LIGHT) == 0 ? face->glyph : nullptr;
  }
};

// The file is a constant of the program, so nothing but a lack of memory can fail here; then there
// is no face, and texts stay away.
Font::Font(int size) : face_(std::make_unique<Face>()) {
  const absl::string_view file = FontFile();
  if (FT_Init_FreeType(&face_->library) != 0) return;
  if (FT_New_Memory_Face(face_->library, reinterpret_cast<const FT_Byte*>(file.data()),
                         static_cast<FT_Long>(file.size()), /*face_index=*/0, &face_->face) != 0) {
    return;
  }
  FT_Set_Pixel_Sizes(face_->face, 0, size);
  const FT_Size_Metrics& metrics = face_->face->size->metrics;  // in 64ths of a pixel
  ascent_ = static_cast<int>(metrics.ascender >> 6);
  line_height_ = static_cast<int>(metrics.height >> 6);
}

Font::~Font() = default;

int Font::Width(absl::string_view text) const {
  int64_t width = 0;
  for (const char32_t point : CodePoints(text)) {
    if (const FT_GlyphSlot glyph = face_->Load(point, FT_LOAD_DEFAULT)) width += glyph->advance.x;
  }
  return static_cast<int>((width + 63) >> 6);
}

std::string Font::Fit(absl::string_view text, int width) const {
  if (Width(text) <= width) return std::string(text);
  std::string fitting;
  while (!text.empty()) {
    const int length = ReadUtf8(text).length;
    const std::string longer = absl::StrCat(fitting, text.substr(0, length));
    if (Width(longer) + Width(kEllipsis) > width) break;
    fitting = longer;
    text.remove_prefix(length);
  }
  return absl::StrCat(fitting, kEllipsis);
}

// Paints the text's pixels: `place` says where one lies that is `x` to the right of the text's
// beginning and `y` above what letters stand on.
void Font::Paint(absl::string_view text,
                 absl::FunctionRef<void(int x, int y, int cover)> place) const {
  int64_t pen = 0;  // in 64ths of a pixel
  for (const char32_t point : CodePoints(text)) {
    const FT_GlyphSlot glyph = face_->Load(point, FT_LOAD_RENDER);
    if (glyph == nullptr) continue;
    const FT_Bitmap& bitmap = glyph->bitmap;
    const int left = static_cast<int>((pen + 32) >> 6) + glyph->bitmap_left;
    for (unsigned row = 0; row < bitmap.rows; ++row) {
      const unsigned char* covers = bitmap.buffer + static_cast<int64_t>(row) * bitmap.pitch;
      for (unsigned column = 0; column < bitmap.width; ++column) {
        place(left + static_cast<int>(column), glyph->bitmap_top - static_cast<int>(row),
              covers[column]);
      }
    }
    pen += glyph->advance.x;
  }
}

void Font::Draw(Image& image, int left, int top, absl::string_view text, Colour colour) const {
  Paint(text,
        [&](int x, int y, int cover) { image.Blend(left + x, top + ascent_ - y, colour, cover); });
}

void Font::DrawCentred(Image& image, int center, int top, absl::string_view text,
                       Colour colour) const {
  Draw(image, center - Width(text) / 2, top, text, colour);
}

void Font::DrawUpwards(Image& image, int left, int top, absl::string_view text,
                       Colour colour) const {
  const int bottom = top + Width(text) - 1;
  Paint(text, [&](int x, int y, int cover) {
    image.Blend(left + ascent_ - y, bottom - x, colour, cover);
  });
}

}  // namespace peerage
