#include "client/image.h"

#include <png.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace peerage {

Image::Image(int width, int height, Colour background)
    : width_(width), height_(height), pixels_(static_cast<size_t>(width) * height, background) {}

void Image::Fill(int x, int y, int width, int height, Colour colour) {
  const int left = std::max(x, 0);
  const int right = std::min(x + width, width_);
  for (int row = std::max(y, 0); row < std::min(y + height, height_); ++row) {
    const auto begin = pixels_.begin() + static_cast<size_t>(row) * width_;
    if (left < right) std::fill(begin + left, begin + right, colour);
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

}  // namespace peerage
