#include "model/experts/expert_map.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

constexpr int kMaxSide = 8192;  // experts, or pixels of zoomed ones, across or down, on all maps
constexpr int kSmallestWidth = 512;

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

std::vector<MapMark> MarksOf(MapScale kind, uint64_t max) {
  const Scale scale(kind, max);
  std::vector<MapMark> marks;
  for (const uint64_t tick : Ticks(kind, max)) marks.push_back({scale(tick), ShortNumber(tick)});
  return marks;
}

// What is no square has no sub-keys that tell where an expert lies.
MapAxis AxisOf(const ExpertGrid& grid, const char* sub_key, const char* part) {
  const bool square = static_cast<uint64_t>(grid.side) * grid.side == grid.experts;
  std::string name = square ? sub_key : absl::StrCat("expert ", part, " ", grid.side);
  return {.name = std::move(name), .count = grid.side, .cell = grid.cell};
}
MapAxis RowAxis(const ExpertGrid& grid) { return AxisOf(grid, "first sub-key", "/"); }
MapAxis ColumnAxis(const ExpertGrid& grid) { return AxisOf(grid, "second sub-key", "mod"); }

// The name of a head over its map, and over the map's axis, when there are several.
int HeadHeight(const ExpertGrid& grid, const MapFrame& frame) {
  return grid.maps == 1 ? 0 : frame.text().line_height();
}

MapCorner CornerIn(const MapFrame& frame, const ExpertGrid& grid, int map) {
  const int pitch = grid.side * grid.cell + frame.gap();
  const int head = HeadHeight(grid, frame);
  return {
      .left = frame.margin() + frame.left_axis_width(RowAxis(grid)) + map % grid.columns() * pitch,
      .top = frame.margin() + frame.caption_height() + frame.top_axis_height() +
             map / grid.columns() * (pitch + head) + head};
}

void DrawMap(Image& image, absl::Span<const uint64_t> selections, const ExpertGrid& grid,
             const MapCorner& corner, const std::function<Colour(uint64_t)>& shade) {
  const int size = grid.side * grid.cell;
  image.Fill(corner.left, corner.top, size, size, MapFrame::kNothing);
  for (uint64_t i = 0; i < grid.experts; ++i) {
    image.Fill(corner.left + static_cast<int>(i % grid.side) * grid.cell,
               corner.top + static_cast<int>(i / grid.side) * grid.cell, grid.cell, grid.cell,
               shade(selections[i]));
  }
}

// The axes are drawn at the first row and column of maps.
void DrawAxes(Image& image, const MapFrame& frame, const ExpertGrid& grid) {
  for (int map = 0; map < grid.maps; ++map) {
    const MapCorner corner = CornerIn(frame, grid, map);
    int top = corner.top;
    if (map < grid.columns()) {
      frame.DrawTopAxis(image, corner.left, top, ColumnAxis(grid));
      top -= frame.top_axis_height();
    }
    if (grid.maps > 1) {
      frame.text().DrawCentred(image, corner.left + grid.side * grid.cell / 2,
                               top - HeadHeight(grid, frame), absl::StrCat("head ", map),
                               MapFrame::kInk);
    }
    if (map % grid.columns() == 0) {
      frame.DrawLeftAxis(image, corner.left, corner.top, RowAxis(grid));
    }
  }
}

}  // namespace

int ExpertGrid::columns() const { return static_cast<int>(CeilSqrt(maps)); }

absl::StatusOr<ExpertGrid> ArrangeExperts(uint64_t num_experts, int maps, int zoom) {
  if (num_experts == 0 || maps < 1 || num_experts % maps != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(num_experts, " experts cannot be divided into ", maps, " maps"));
  }
  if (zoom < 1 || zoom > MapFrame::kLargestZoom) {
    return absl::InvalidArgumentError(absl::StrCat("a map is drawn 1 to ", MapFrame::kLargestZoom,
                                                   " times as large, not ", zoom));
  }
  ExpertGrid grid{.maps = maps, .experts = num_experts / maps, .zoom = zoom};
  const uint64_t side = CeilSqrt(grid.experts);
  const uint64_t across = side * CeilSqrt(maps);
  const uint64_t cell = zoom * std::max<uint64_t>(1, (kSmallestWidth + across - 1) / across);
  if (across * (zoom == 1 ? 1 : cell) > kMaxSide) {
    return absl::OutOfRangeError(absl::StrCat(num_experts, " experts are too many for a map",
                                              zoom == 1 ? "" : " of that scale"));
  }
  grid.side = static_cast<int>(side);
  grid.cell = static_cast<int>(cell);
  return grid;
}

MapCorner CornerOfMap(const ExpertGrid& grid, int map) {
  return CornerIn(MapFrame(grid.zoom), grid, map);
}

Image DrawExpertMap(absl::Span<const uint64_t> selections, const ExpertGrid& grid,
                    const MapCaption& caption, const MapStyle& style) {
  const MapFrame frame(grid.zoom);
  const int size = grid.side * grid.cell;
  const MapCorner last_column = CornerIn(frame, grid, grid.columns() - 1);
  const MapCorner last_row = CornerIn(frame, grid, (grid.rows() - 1) * grid.columns());
  const int legend_top = last_row.top + size + frame.gap();
  Image image(last_column.left + size + frame.margin(),
              legend_top + frame.legend_height() + frame.margin(), MapFrame::kPaper);
  frame.DrawCaption(image, caption);
  DrawAxes(image, frame, grid);

  const uint64_t max = *std::max_element(selections.begin(), selections.end());
  const Scale scale(style.scale, max);
  const auto shade = [&](uint64_t count) { return HeatColour(scale(count), style.palette); };
  for (int map = 0; map < grid.maps; ++map) {
    DrawMap(image, selections.subspan(map * grid.experts, grid.experts), grid,
            CornerIn(frame, grid, map), shade);
  }
  frame.DrawLegend(image, legend_top,
                   absl::StrCat("selections of an expert, ",
                                style.scale == MapScale::kLog ? "logarithmic" : "linear", " scale"),
                   style.palette, MarksOf(style.scale, max));
  return image;
}

}  // namespace peerage
