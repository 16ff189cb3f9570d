#include "model/experts/expert_map.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

constexpr int kMaxSide = 8192;  // experts across or down, on all maps
constexpr int kSmallestWidth = 512;
constexpr int kMargin = 16;
constexpr int kGap = 8;  // between maps
constexpr int kBarHeight = 16;
constexpr int kLegendHeight = kMargin + kBarHeight + 4 + kTextHeight;

constexpr Colour kBackground = {255, 255, 255};
constexpr Colour kText = {0, 0, 0};
constexpr Colour kNoExpert = {200, 200, 200};

// The smallest n with n * n >= x.
uint64_t CeilSqrt(uint64_t x) {
  auto n = static_cast<uint64_t>(std::sqrt(static_cast<double>(x)));
  while (n * n < x) ++n;
  while (n > 0 && (n - 1) * (n - 1) >= x) --n;
  return n;
}

// Maps selections to [0, 1].
class Scale {
 public:
  Scale(MapScale kind, uint64_t max) : kind_(kind), most_(Value(std::max<uint64_t>(max, 1))) {}
  double operator()(uint64_t count) const { return Value(count) / most_; }

 private:
  double Value(uint64_t count) const {
    const auto value = static_cast<double>(count);
    return kind_ == MapScale::kLog ? std::log1p(value) : value;
  }

  const MapScale kind_;
  const double most_;
};

// The values that the legend names: on a logarithmic scale 0, 1, 10, 100, ... up to half of `max`,
// on a linear one quarters of it, and `max`.
std::vector<uint64_t> Ticks(MapScale scale, uint64_t max) {
  std::vector<uint64_t> ticks = {0};
  if (scale == MapScale::kLog) {
    for (uint64_t tick = 1; tick < max && tick <= max / 2; tick *= 10) ticks.push_back(tick);
  } else {
    for (uint64_t quarter = 1; quarter < 4; ++quarter) {
      const uint64_t tick = max / 4 * quarter + max % 4 * quarter / 4;
      if (tick > ticks.back()) ticks.push_back(tick);
    }
  }
  if (max > 0) ticks.push_back(max);
  return ticks;
}

void DrawLegend(Image& image, uint64_t max, const MapStyle& style, int top) {
  const Scale scale(style.scale, max);
  const int length = image.width() - 2 * kMargin;
  for (int x = 0; x < length; ++x) {
    image.Fill(kMargin + x, top, 1, kBarHeight, HeatColour((x + 0.5) / length, style.palette));
  }
  int free_from = 0;  // labels do not overlap: the largest value is written first
  const std::vector<uint64_t> ticks = Ticks(style.scale, max);
  const std::string last = ShortNumber(max);
  const int last_left = kMargin + length - TextWidth(last);
  DrawText(image, last_left, top + kBarHeight + 4, last, kText);
  for (const uint64_t tick : ticks) {
    const std::string label = ShortNumber(tick);
    const int center = kMargin + static_cast<int>(scale(tick) * length);
    const int left = std::max(center - TextWidth(label) / 2, kMargin);
    if (tick == max || left < free_from || left + TextWidth(label) + kGap > last_left) continue;
    DrawText(image, left, top + kBarHeight + 4, label, kText);
    free_from = left + TextWidth(label) + kGap;
  }
}

}  // namespace

absl::StatusOr<ExpertGrid> ArrangeExperts(uint64_t num_experts, int maps) {
  if (num_experts == 0 || maps < 1 || num_experts % maps != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(num_experts, " experts cannot be divided into ", maps, " maps"));
  }
  ExpertGrid grid{.maps = maps, .experts = num_experts / maps};
  const uint64_t side = CeilSqrt(grid.experts);
  if (side * CeilSqrt(maps) > kMaxSide) {
    return absl::OutOfRangeError(absl::StrCat(num_experts, " experts are too many for a map"));
  }
  grid.side = static_cast<int>(side);
  return grid;
}

Image DrawExpertMap(absl::Span<const uint64_t> selections, const ExpertGrid& grid,
                    const MapStyle& style) {
  const int columns = static_cast<int>(CeilSqrt(grid.maps));
  const int rows = (grid.maps + columns - 1) / columns;
  const int scale = std::max(1, (kSmallestWidth + columns * grid.side - 1) / (columns * grid.side));
  const int map_size = grid.side * scale;
  const int legend_top = kMargin + rows * (map_size + kGap) - kGap + kMargin;
  Image image(2 * kMargin + columns * (map_size + kGap) - kGap, legend_top + kLegendHeight,
              kBackground);

  const uint64_t max = *std::max_element(selections.begin(), selections.end());
  const Scale shade(style.scale, max);
  for (int map = 0; map < grid.maps; ++map) {
    const int left = kMargin + map % columns * (map_size + kGap);
    const int top = kMargin + map / columns * (map_size + kGap);
    image.Fill(left, top, map_size, map_size, kNoExpert);
    for (uint64_t i = 0; i < grid.experts; ++i) {
      const int x = left + static_cast<int>(i % grid.side) * scale;
      const int y = top + static_cast<int>(i / grid.side) * scale;
      const uint64_t count = selections[map * grid.experts + i];
      image.Fill(x, y, scale, scale, HeatColour(shade(count), style.palette));
    }
  }
  DrawLegend(image, max, style, legend_top);
  return image;
}

}  // namespace peerage
