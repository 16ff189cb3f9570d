#include "model/experts/mixture_map.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/experts/expert_numbers.h"

namespace peerage {
namespace {

constexpr int64_t kMostPixels = int64_t{1} << 26;
constexpr int kSmallestCell = 64;
constexpr int kLongestName = 120;  // pixels
constexpr int kSmallestPicture = 600;
constexpr Colour kLightInk = {255, 255, 255};
constexpr char kLayerAxis[] = "layer";

struct MapRow {
  std::string layer;
  std::vector<double> shares;
};

// The layers of one kind whose experts have the same names.
struct Panel {
  std::string kind;
  std::vector<std::string> names;
  std::vector<MapRow> rows;
};

std::vector<Panel> PanelsOf(absl::Span<const MixtureMapLayer> layers) {
  std::vector<Panel> panels;
  for (const MixtureMapLayer& layer : layers) {
    auto panel = std::find_if(panels.begin(), panels.end(), [&](const Panel& p) {
      return p.kind == layer.kind && p.names == layer.names;
    });
    if (panel == panels.end()) panel = panels.insert(panel, {layer.kind, layer.names, {}});
    panel->rows.push_back({absl::StrCat(layer.layer), ScoreShares(layer.scores)});
  }
  for (Panel& panel : panels) {  // as they are drawn at any zoom
    const MapFrame frame(1);
    for (std::string& name : panel.names) name = frame.text().Fit(name, kLongestName);
  }
  return panels;
}

// A panel's lengths in pixels: its kind, the names, then a row for each layer, whose number is to
// the left of the cells.
class PanelLayout {
 public:
  PanelLayout(const Panel& panel, const MapFrame& frame) : line_(frame.text().line_height()) {
    cell_width_ = kSmallestCell * frame.zoom();
    for (const std::string& name : panel.names) {
      cell_width_ = std::max(cell_width_, frame.text().Width(name) + frame.gap());
    }
    labels_ = frame.text().Width(kLayerAxis) + frame.gap();
    for (const MapRow& row : panel.rows) {
      labels_ = std::max(labels_, frame.text().Width(row.layer) + frame.gap());
    }
    cell_height_ = line_ + frame.gap();
    width_ = labels_ + std::max<int64_t>(cell_width_ * static_cast<int64_t>(panel.names.size()),
                                         frame.text().Width(panel.kind));
    height_ =
        int64_t{2} * line_ + cell_height_ * static_cast<int64_t>(panel.rows.size()) + frame.gap();
  }

  int line() const { return line_; }
  int labels() const { return labels_; }
  int cell_width() const { return cell_width_; }
  int cell_height() const { return cell_height_; }
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  int cells_top(int top) const { return top + 2 * line_; }

 private:
  const int line_;
  int labels_ = 0;
  int cell_width_ = 0;
  int cell_height_ = 0;
  int64_t width_ = 0;
  int64_t height_ = 0;
};

void DrawCell(Image& image, const MapFrame& frame, const MixtureCells& cell, double share) {
  image.Fill(cell.left, cell.top, cell.width, cell.height, HeatColour(share));
  frame.text().DrawCentred(
      image, cell.left + cell.width / 2, cell.top + (cell.height - frame.text().line_height()) / 2,
      absl::StrCat(std::lround(100 * share), " %"), share < 0.6 ? kLightInk : MapFrame::kInk);
}

void DrawPanel(Image& image, const MapFrame& frame, const Panel& panel, int left, int top) {
  const PanelLayout layout(panel, frame);
  const Font& text = frame.text();
  MixtureCells cell{.left = left + layout.labels(),
                    .top = layout.cells_top(top),
                    .width = layout.cell_width(),
                    .height = layout.cell_height()};
  const int first = cell.left;
  text.Draw(image, first, top, panel.kind, MapFrame::kInk);
  for (size_t i = 0; i < panel.names.size(); ++i) {
    text.DrawCentred(image, first + static_cast<int>(i) * cell.width + cell.width / 2,
                     top + layout.line(), panel.names[i], MapFrame::kInk);
  }
  text.Draw(image, left, top + layout.line(), kLayerAxis, MapFrame::kInk);
  for (const MapRow& row : panel.rows) {
    text.Draw(image, first - frame.gap() - text.Width(row.layer),
              cell.top + (cell.height - text.line_height()) / 2, row.layer, MapFrame::kInk);
    for (size_t i = 0; i < panel.names.size(); ++i) {
      cell.left = first + static_cast<int>(i) * cell.width;
      if (row.shares.empty()) {
        image.Fill(cell.left, cell.top, cell.width, cell.height, MapFrame::kNothing);
      } else {
        DrawCell(image, frame, cell, row.shares[i]);
      }
    }
    cell.top += cell.height;
  }
}

}  // namespace

absl::StatusOr<Image> DrawMixtureMap(absl::Span<const MixtureMapLayer> layers,
                                     const MapCaption& caption, int zoom) {
  if (layers.empty()) return absl::InvalidArgumentError("there is no mixture to draw");
  if (zoom < 1 || zoom > MapFrame::kLargestZoom) {
    return absl::InvalidArgumentError(absl::StrCat("a map is drawn 1 to ", MapFrame::kLargestZoom,
                                                   " times as large, not ", zoom));
  }
  const MapFrame frame(zoom);
  const std::vector<Panel> panels = PanelsOf(layers);
  int64_t width = frame.margin(), panel_height = 0;
  for (const Panel& panel : panels) {
    const PanelLayout layout(panel, frame);
    width += layout.width() + frame.margin();
    panel_height = std::max(panel_height, layout.height());
  }
  width = std::max<int64_t>(width, int64_t{kSmallestPicture} * zoom);
  const int panels_top = frame.margin() + frame.caption_height();
  const int64_t height =
      panels_top + panel_height + frame.gap() + frame.legend_height() + frame.margin();
  if (width > kMostPixels / height) {
    return absl::OutOfRangeError("a picture cannot hold so many experts");
  }
  Image image(static_cast<int>(width), static_cast<int>(height), MapFrame::kPaper);
  frame.DrawCaption(image, caption);
  int left = frame.margin();
  for (const Panel& panel : panels) {
    DrawPanel(image, frame, panel, left, panels_top);
    left += static_cast<int>(PanelLayout(panel, frame).width()) + frame.margin();
  }
  frame.DrawLegend(image, panels_top + static_cast<int>(panel_height) + frame.gap(),
                   "share of the layer's scores", Palette::kInferno,
                   {{0, "0 %"}, {0.25, "25 %"}, {0.5, "50 %"}, {0.75, "75 %"}, {1, "100 %"}});
  return image;
}

MixtureCells CellsOfOnePanel(absl::Span<const MixtureMapLayer> layers, int zoom) {
  const MapFrame frame(zoom);
  const PanelLayout layout(PanelsOf(layers).front(), frame);
  return {.left = frame.margin() + layout.labels(),
          .top = layout.cells_top(frame.margin() + frame.caption_height()),
          .width = layout.cell_width(),
          .height = layout.cell_height()};
}

}  // namespace peerage
