#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace peerage {

using Colour = std::array<uint8_t, 3>;  // red, green, blue

// A picture of 8-bit sRGB pixels, row by row from the top.
class Image {
 public:
  // Precondition: both are positive.
  Image(int width, int height, Colour background);

  int width() const { return width_; }
  int height() const { return height_; }
  Colour at(int x, int y) const { return pixels_[static_cast<size_t>(y) * width_ + x]; }

  // What lies outside the picture is left out.
  void Fill(int x, int y, int width, int height, Colour colour);

  // INTERNAL when libpng fails.
  absl::StatusOr<std::string> ToPng() const;

 private:
  int width_;
  int height_;
  std::vector<Colour> pixels_;
};

}  // namespace peerage
