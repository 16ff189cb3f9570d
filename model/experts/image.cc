#include "model/experts/image.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace peerage {
Image::Image(int width, int height, Colour background)
    : width_(width), height_(height), pixels_(static_cast<size_t>(width) * height, background) {}

void Image::Fill(int x, int y, int width, int height, Colour colour) {
  const int left = std::max(x, 0);
  const int right = std::min(x + width, width_);
  for (int row = std::max(y, 0); row < std::min(y + height, height_); ++row) {
    const auto begin = pixels_.begin() + static_cast<int64_t>(row) * width_;
    if (left < right) std::fill(begin + left, begin + right, colour);
  }
}

void Image::Blend(int x, int y, Colour colour, int cover) {
  if (x < 0 || y < 0 || x >= width_ || y >= height_) return;
  Colour& pixel = pixels_[static_cast<size_t>(y) * width_ + x];
  for (size_t i = 0; i < pixel.size(); ++i) {
    pixel[i] = static_cast<uint8_t>((pixel[i] * (255 - cover) + colour[i] * cover + 127) / 255);
  }
}

absl::StatusOr<std::string> Image::ToPng() const {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = width_;
  image.height = height_;
  image.format = PNG_FORMAT_RGB;
  std::string png(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = png.size();
  if (png_image_write_to_memory(&image, png.data(), &size, /*convert_to_8_bit=*/0, pixels_.data(),
                                /*row_stride=*/0, /*colormap=*/nullptr) == 0) {
    return absl::InternalError(absl::StrCat("libpng: ", image.message));
  }
  png.resize(size);
  return png;
}

Colour HeatColour(double t, Palette palette) {
  using Points = std::array<std::array<double, 3>, 8>;
  // Control points of matplotlib's "inferno" and "viridis" (CC0), evenly spaced.
  static constexpr Points kInferno = {{{0, 0, 4},
                                       {40, 11, 84},
                                       {101, 21, 110},
                                       {159, 42, 99},
                                       {212, 72, 66},
                                       {245, 125, 21},
                                       {250, 193, 39},
                                       {252, 255, 164}}};
  static constexpr Points kViridis = {{{68, 1, 84},
                                       {70, 50, 127},
                                       {54, 92, 141},
                                       {39, 127, 142},
                                       {31, 161, 135},
                                       {74, 194, 109},
                                       {159, 218, 58},
                                       {253, 231, 37}}};
  const double clamped = t > 0 ? std::min(t, 1.0) : 0;
  Colour colour;
  if (palette == Palette::kGrey) {
    colour.fill(static_cast<uint8_t>(std::lround(255 * clamped)));
    return colour;
  }
  const Points& points = palette == Palette::kViridis ? kViridis : kInferno;
  constexpr int kSegments = static_cast<int>(std::tuple_size_v<Points>) - 1;
  const double position = clamped * kSegments;
  const int segment = std::min(static_cast<int>(position), kSegments - 1);
  const double part = position - segment;
  for (int i = 0; i < 3; ++i) {
    const double value = points[segment][i] * (1 - part) + points[segment + 1][i] * part;
    colour[i] = static_cast<uint8_t>(std::lround(value));
  }
  return colour;
}

std::string ShortNumber(uint64_t number) {
  constexpr std::pair<double, const char*> kUnits[] = {
      {1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
  const auto value = static_cast<double>(number);
  for (const auto& [size, name] : kUnits) {
    if (value < size) continue;
    const double scaled = value / size;
    std::string digits = absl::StrFormat("%.*f", scaled < 9.95 ? 1 : 0, scaled);
    return absl::StrCat(absl::StripSuffix(digits, ".0"), name);
  }
  return absl::StrCat(number);
}

}  // namespace peerage
