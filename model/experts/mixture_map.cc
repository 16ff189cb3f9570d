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
constexpr size_t kLongestName = 12;  // characters of it that are drawn
constexpr int kEdge = 16;
constexpr int kSpace = 8;  // around names
constexpr int kLine = kTextHeight + kSpace;
constexpr int kSmallestCell = 48;

constexpr Colour kPaper = {255, 255, 255};
constexpr Colour kInk = {0, 0, 0};
constexpr Colour kLightInk = {255, 255, 255};
constexpr Colour kNotCounted = {200, 200, 200};  // no score was counted

struct MapRow {
  std::string layer;
  std::vector<double> shares;
};

struct Panel {
  std::string title;
  std::vector<std::string> names;
  std::vector<MapRow> rows;

  int cell_width() const {
    int width = kSmallestCell;
    for (const std::string& name : names) width = std::max(width, TextWidth(name) + kSpace);
    return width;
  }
  int label_width() const {
    int width = 0;
    for (const MapRow& row : rows) width = std::max(width, TextWidth(row.layer));
    return width + kSpace;
  }
  int64_t width() const {
    const int64_t cells = cell_width() * static_cast<int64_t>(names.size());
    return label_width() + std::max<int64_t>(cells, TextWidth(title));
  }
  int64_t height() const {
    return (2 + static_cast<int64_t>(rows.size())) * kLine;
  }  // title, names
};

std::vector<Panel> PanelsOf(absl::Span<const MixtureMapLayer> layers) {
  std::vector<Panel> panels;
  for (const MixtureMapLayer& layer : layers) {
    const std::string title = absl::StrCat(layer.kind, " % of scores");
    std::vector<std::string> names = layer.names;
    for (std::string& name : names) name.resize(std::min(name.size(), kLongestName));
    auto panel = std::find_if(panels.begin(), panels.end(),
                              [&](const Panel& p) { return p.title == title && p.names == names; });
    if (panel == panels.end()) panel = panels.insert(panel, {title, std::move(names), {}});
    panel->rows.push_back({absl::StrCat(layer.layer), ScoreShares(layer.scores)});
  }
  return panels;
}

void DrawCentred(Image& image, int center, int top, const std::string& text, Colour colour) {
  DrawText(image, center - TextWidth(text) / 2, top, text, colour);
}

void DrawPanel(Image& image, int left, const Panel& panel) {
  const int width = panel.cell_width(), first = left + panel.label_width();
  int top = kEdge;
  DrawText(image, first, top, panel.title, kInk);
  top += kLine;
  for (size_t i = 0; i < panel.names.size(); ++i) {
    DrawCentred(image, first + static_cast<int>(i) * width + width / 2, top, panel.names[i], kInk);
  }
  for (const MapRow& row : panel.rows) {
    top += kLine;
    DrawText(image, left, top, row.layer, kInk);
    for (size_t i = 0; i < panel.names.size(); ++i) {
      const int x = first + static_cast<int>(i) * width;
      const double share = row.shares.empty() ? 0 : row.shares[i];
      image.Fill(x, top - kSpace / 2, width, kLine,
                 row.shares.empty() ? kNotCounted : HeatColour(share));
      if (row.shares.empty()) continue;
      DrawCentred(image, x + width / 2, top, absl::StrCat(std::lround(100 * share)),
                  share < 0.6 ? kLightInk : kInk);
    }
  }
}

}  // namespace

absl::StatusOr<Image> DrawMixtureMap(absl::Span<const MixtureMapLayer> layers) {
  if (layers.empty()) return absl::InvalidArgumentError("there is no mixture to draw");
  const std::vector<Panel> panels = PanelsOf(layers);
  int64_t width = kEdge, height = 0;
  for (const Panel& panel : panels) {
    width += panel.width() + kEdge;
    height = std::max(height, panel.height() + int64_t{2} * kEdge);
  }
  if (width > kMostPixels / height) {
    return absl::OutOfRangeError("a picture cannot hold so many experts");
  }
  Image image(static_cast<int>(width), static_cast<int>(height), kPaper);
  int left = kEdge;
  for (const Panel& panel : panels) {
    DrawPanel(image, left, panel);
    left += static_cast<int>(panel.width()) + kEdge;
  }
  return image;
}

}  // namespace peerage
