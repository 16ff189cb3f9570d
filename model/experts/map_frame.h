#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "model/experts/font.h"
#include "model/experts/image.h"

namespace peerage {

// What a map shows, as the lines above it say.
struct MapCaption {
  std::string model;
  std::string experts;  // "layer 1, peer"
  std::string window;   // "recent"; the experts are counted in [start, end)
  absl::Time start;
  absl::Time end;
  uint64_t tokens = 0;
};

// An edge of a map: its cells are numbered from 0.
struct MapAxis {
  std::string name;
  int count = 0;  // of cells
  int cell = 0;   // the pixels of one
};

// A mark of a legend's scale: where on it, 0 to 1, and what it says.
struct MapMark {
  double position = 0;
  std::string text;
};

// What is around every map: paper, ink, the caption, numbers along its edges. All lengths are in
// pixels; a zoom of 2 makes everything, letters too, twice as large.
class MapFrame {
 public:
  static constexpr int kLargestZoom = 8;
  static constexpr Colour kPaper = {255, 255, 255};
  static constexpr Colour kInk = {0, 0, 0};
  static constexpr Colour kNothing = {200, 200, 200};  // where nothing was counted

  // Precondition: 1 <= zoom <= kLargestZoom.
  explicit MapFrame(int zoom) : zoom_(zoom), title_(18 * zoom), text_(14 * zoom) {}

  int zoom() const { return zoom_; }
  const Font& text() const { return text_; }
  int margin() const { return 16 * zoom_; }
  int gap() const { return 8 * zoom_; }
  int tick() const { return 4 * zoom_; }  // the length of a mark at an edge

  int caption_height() const { return title_.line_height() + text_.line_height() + gap(); }
  // At the top of the picture; lines that are too long for it are cut.
  void DrawCaption(Image& image, const MapCaption& caption) const;

  // Numbers and their marks above a map, the axis's name over them: all that ends at `bottom`. The
  // numbers are 0 and multiples of a round one, so far apart that they can be read.
  int top_axis_height() const { return 2 * text_.line_height() + tick(); }
  void DrawTopAxis(Image& image, int left, int bottom, const MapAxis& axis) const;
  // The same to the left of a map, the name turned: all that ends at `right`.
  int left_axis_width(const MapAxis& axis) const;
  void DrawLeftAxis(Image& image, int right, int top, const MapAxis& axis) const;

  // A line that says what colours mean, all of them, and marks below. Where two would overlap the
  // later counts: the last mark is always there.
  int legend_height() const { return 2 * text_.line_height() + 16 * zoom_ + tick(); }
  void DrawLegend(Image& image, int top, const std::string& meaning, Palette palette,
                  const std::vector<MapMark>& marks) const;

 private:
  const int zoom_;
  const Font title_;
  const Font text_;
};

}  // namespace peerage
