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

  // What lies outside the picture is left out of both.
  void Fill(int x, int y, int width, int height, Colour colour);

  // Covers so much of one pixel: 0 nothing, 255 all.
  void Blend(int x, int y, Colour colour, int cover);

  // The bytes of a PNG file. INTERNAL when libpng fails.
  absl::StatusOr<std::string> ToPng() const;

 private:
  int width_;
  int height_;
  std::vector<Colour> pixels_;
};

// From black through purple and orange to pale yellow, from purple through green to yellow, or
// through all greys. Lightness grows evenly in each, so that pictures can be read in grey, too.
enum class Palette { kInferno, kViridis, kGrey };

// The palette's colour as `t` goes from 0 to 1. A NaN is as good as 0.
Colour HeatColour(double t, Palette palette = Palette::kInferno);

// In at most five characters: "999", "1.2K", "10K", "3.4M"; from 10^16 on in trillions.
std::string ShortNumber(uint64_t number);

}  // namespace peerage
