#pragma once

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "model/experts/image.h"

namespace peerage {

// The typeface of all pictures, in one size: DejaVu Sans, which is a part of the program, so that a
// picture's pixels depend on nothing that is installed beside it. Texts are UTF-8; what is not, and
// what the typeface does not have, is drawn as a replacement character, control characters too.
//
// Threads: one at a time. It is cheap enough to be made for each picture.
class Font {
 public:
  // `size` in pixels, of the em square: capitals are about three quarters as high. Positive.
  explicit Font(int size);
  ~Font();
  Font(const Font&) = delete;
  Font& operator=(const Font&) = delete;

  // From one line to the next.
  int line_height() const { return line_height_; }
  int Width(absl::string_view text) const;
  // The text, or as much of its beginning as leaves room for an ellipsis in `width` pixels.
  std::string Fit(absl::string_view text, int width) const;

  // Draws the text into line_height() rows from `top` on.
  void Draw(Image& image, int left, int top, absl::string_view text, Colour colour) const;
  void DrawCentred(Image& image, int center, int top, absl::string_view text, Colour colour) const;
  // Turned to the left, into line_height() columns from `left` on: the text ends at `top`.
  void DrawUpwards(Image& image, int left, int top, absl::string_view text, Colour colour) const;

 private:
  struct Face;  // FreeType's

  void Paint(absl::string_view text, absl::FunctionRef<void(int x, int y, int cover)> place) const;

  const std::unique_ptr<Face> face_;
  int line_height_ = 0;
  int ascent_ = 0;  // from the top of a line to what letters stand on
};

}  // namespace peerage
