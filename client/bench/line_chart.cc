#include "client/bench/line_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "model/experts/font.h"

namespace peerage::client {
namespace {

constexpr Colour kPaper = {255, 255, 255};
constexpr Colour kInk = {0, 0, 0};
constexpr Colour kGrid = {225, 225, 225};
constexpr int kMargin = 20;
constexpr int kGap = 8;
constexpr int kMarksWidth = 64;  // of the numbers at the left
constexpr int kPlotWidth = 720;
constexpr int kPlotHeight = 170;
constexpr int kWidth = kMargin + kMarksWidth + kPlotWidth + 2 * kMargin;
constexpr double kLineWidth = 2;
constexpr double kDotRadius = 4;
constexpr double kLogarithmicFrom = 30;  // largest to smallest
constexpr int kIntervals = 4;            // of a linear axis, about

struct Spot {
  double x = 0;
  double y = 0;
};

// From a pixel's middle to the nearest part of the line.
double Distance(Spot pixel, Spot from, Spot to) {
  const double dx = to.x - from.x;
  const double dy = to.y - from.y;
  const double length = dx * dx + dy * dy;
  const double along = (pixel.x - from.x) * dx + (pixel.y - from.y) * dy;
  const double part = length > 0 ? std::clamp(along / length, 0.0, 1.0) : 0;
  return std::hypot(pixel.x - from.x - part * dx, pixel.y - from.y - part * dy);
}

// A line with round ends; of no length it is a dot. Edges are soft.
void Stroke(Image& image, Spot from, Spot to, double width, Colour colour) {
  const double reach = width / 2 + 1;
  const auto [left, right] = std::minmax(from.x, to.x);
  const auto [top, bottom] = std::minmax(from.y, to.y);
  for (int y = static_cast<int>(top - reach); y <= static_cast<int>(bottom + reach); ++y) {
    for (int x = static_cast<int>(left - reach); x <= static_cast<int>(right + reach); ++x) {
      const double inside = width / 2 + 0.5 - Distance({x + 0.5, y + 0.5}, from, to);
      if (inside <= 0) continue;
      image.Blend(x, y, colour, static_cast<int>(std::lround(255 * std::min(inside, 1.0))));
    }
  }
}

std::string MarkText(double value) {
  return value < 1e5 ? absl::StrCat(value) : ShortNumber(static_cast<uint64_t>(value));
}

// The least of 1, 2, 5, 10, 20, ... of a power of ten that is not below `value`.
double RoundUp(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (digit * power >= value * (1 - 1e-9)) return digit * power;
  }
  return 10 * power;
}

ChartScale LinearScale(double most) {
  ChartScale scale;
  if (most <= 0) return {.marks = {0, 1}};
  const double step = RoundUp(most / kIntervals);
  scale.high = step * std::ceil(most / step * (1 - 1e-9));
  // Multiples, rather than sums, are the short decimals that they look like.
  for (int i = 0; i * step <= scale.high * (1 + 1e-9); ++i) scale.marks.push_back(i * step);
  return scale;
}

ChartScale LogarithmicScale(double least, double most) {
  const double first = std::floor(std::log10(least) + 1e-9);
  const double last = std::ceil(std::log10(most) - 1e-9);
  ChartScale scale{
      .low = std::pow(10, first), .high = std::pow(10, last), .logarithmic = true, .marks = {}};
  for (double power = first; power <= last; ++power) scale.marks.push_back(std::pow(10, power));
  return scale;
}

// One chart's fonts and where its points are.
class ChartPainter {
 public:
  explicit ChartPainter(const LineChart& chart) : chart_(chart), title_(18), text_(14) {}

  Image Draw() const {
    Image image(kWidth, height(), kPaper);
    const int room = kWidth - 2 * kMargin;
    title_.Draw(image, kMargin, kMargin, title_.Fit(chart_.title, room), kInk);
    text_.Draw(image, kMargin, kMargin + title_.line_height(), text_.Fit(chart_.subtitle, room),
               kInk);
    int top = kMargin + head_height();
    for (const ChartPanel& panel : chart_.panels) {
      DrawPanel(image, panel, top);
      top += panel_height();
    }
    DrawPoints(image, top);
    return image;
  }

 private:
  int head_height() const { return title_.line_height() + text_.line_height() + 2 * kGap; }
  int panel_height() const { return text_.line_height() + kPlotHeight + 3 * kGap; }
  int height() const {
    return 2 * kMargin + head_height() + static_cast<int>(chart_.panels.size()) * panel_height() +
           2 * text_.line_height();
  }
  static constexpr int left() { return kMargin + kMarksWidth; }

  double XOf(size_t point) const {
    const auto count = static_cast<double>(chart_.points.size());
    return left() + kPlotWidth * (static_cast<double>(point) + 0.5) / count;
  }

  void DrawPanel(Image& image, const ChartPanel& panel, int top) const {
    text_.Draw(image, kMargin, top, panel.title, kInk);
    DrawNames(image, panel.lines, top);
    const int plot = top + text_.line_height() + kGap;
    const ChartScale scale = ScaleFor(panel.lines);
    const auto y_of = [&](double value) {
      return plot + kPlotHeight * (1 - scale.PositionOf(value));
    };
    for (size_t i = 0; i < chart_.points.size(); ++i) {
      image.Fill(static_cast<int>(XOf(i)), plot, 1, kPlotHeight, kGrid);
    }
    for (const double mark : scale.marks) {
      const int y = static_cast<int>(std::lround(y_of(mark)));
      const std::string number = MarkText(mark);
      image.Fill(left(), y, kPlotWidth, 1, kGrid);
      text_.Draw(image, left() - kGap - text_.Width(number), y - text_.line_height() / 2, number,
                 kInk);
    }
    image.Fill(left(), plot, 1, kPlotHeight, kInk);
    image.Fill(left(), plot + kPlotHeight, kPlotWidth, 1, kInk);
    for (const ChartLine& line : panel.lines) DrawLine(image, line, y_of);
  }

  template <typename YOf>
  void DrawLine(Image& image, const ChartLine& line, const YOf& y_of) const {
    Spot before;
    bool has_before = false;
    for (size_t i = 0; i < line.values.size(); ++i) {
      if (!std::isfinite(line.values[i])) continue;
      const Spot spot{XOf(i), y_of(line.values[i])};
      if (has_before) Stroke(image, before, spot, kLineWidth, line.colour);
      Stroke(image, spot, spot, 2 * kDotRadius, line.colour);
      before = spot;
      has_before = true;
    }
  }

  // From the right, in the lines' colours. One that is alone needs no name.
  void DrawNames(Image& image, const std::vector<ChartLine>& lines, int top) const {
    int right = left() + kPlotWidth;
    for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
      if (line->name.empty()) continue;
      right -= text_.Width(line->name);
      text_.Draw(image, right, top, line->name, line->colour);
      right -= 2 * kGap;
      const double y = top + text_.line_height() / 2.0;
      Stroke(image, {right + 0.0, y}, {right + 0.0, y}, 2 * kDotRadius, line->colour);
      right -= 3 * kGap;
    }
  }

  void DrawPoints(Image& image, int top) const {
    for (size_t i = 0; i < chart_.points.size(); ++i) {
      text_.DrawCentred(image, static_cast<int>(XOf(i)), top - kGap, chart_.points[i], kInk);
    }
    text_.DrawCentred(image, left() + kPlotWidth / 2, top - kGap + text_.line_height(), chart_.axis,
                      kInk);
  }

  const LineChart& chart_;
  const Font title_;
  const Font text_;
};

}  // namespace

double ChartScale::PositionOf(double value) const {
  if (!logarithmic) return std::clamp((value - low) / (high - low), 0.0, 1.0);
  return std::clamp(std::log(value / low) / std::log(high / low), 0.0, 1.0);
}

ChartScale ScaleFor(const std::vector<ChartLine>& lines) {
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  for (const ChartLine& line : lines) {
    for (const double value : line.values) {
      if (!std::isfinite(value)) continue;
      least = std::min(least, value);
      most = std::max(most, value);
    }
  }
  const bool wide = least > 0 && most / least >= kLogarithmicFrom;
  return wide ? LogarithmicScale(least, most) : LinearScale(most);
}

Image DrawLineChart(const LineChart& chart) { return ChartPainter(chart).Draw(); }

}  // namespace peerage::client
