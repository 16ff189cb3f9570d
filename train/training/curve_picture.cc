#include "train/training/curve_picture.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/experts/font.h"
#include "model/experts/image.h"

namespace peerage::train {
namespace {

constexpr int kWidth = 960, kHeight = 480;
constexpr int kLeft = 72, kRight = 24, kTop = 48, kBottom = 40;
constexpr int kLines = 5;  // across the frame, both ways
constexpr Colour kPaper = {255, 255, 255}, kInk = {40, 40, 40}, kGrid = {228, 228, 228};
constexpr Colour kCurves[] = {{31, 119, 180}, {214, 96, 20},  {44, 140, 60},
                              {180, 40, 60},  {110, 80, 170}, {90, 90, 90}};

// What the frame shows.
struct Extent {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Hold(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double At(double share) const { return low + share * (high - low); }
  // 0 to 1; the middle where there is but one value.
  double ShareOf(double value) const { return high > low ? (value - low) / (high - low) : 0.5; }
};

class Plot {
 public:
  explicit Plot(absl::Span<const Curve> curves) : image_(kWidth, kHeight, kPaper), font_(14) {
    for (const Curve& curve : curves) {
      for (const CurvePoint& point : curve.points) {
        if (!std::isfinite(point.value)) continue;
        steps_.Hold(point.step);
        values_.Hold(point.value);
      }
    }
  }

  void DrawFrame(const std::string& title) {
    font_.Draw(image_, kLeft, 8, title, kInk);
    if (!(steps_.low <= steps_.high)) return;
    for (int i = 0; i <= kLines; ++i) {
      const double share = static_cast<double>(i) / kLines;
      const int x = X(steps_.At(share)), y = Y(values_.At(share));
      image_.Fill(kLeft, y, kWidth - kLeft - kRight, 1, kGrid);
      const std::string value = absl::StrFormat("%.4g", values_.At(share));
      font_.Draw(image_, kLeft - 8 - font_.Width(value), y - font_.line_height() / 2, value, kInk);
      font_.DrawCentred(image_, x, kHeight - kBottom + 8, absl::StrFormat("%.0f", steps_.At(share)),
                        kInk);
    }
  }

  void DrawCurve(const Curve& curve, Colour colour) {
    const CurvePoint* before = nullptr;
    for (const CurvePoint& point : curve.points) {
      if (!std::isfinite(point.value)) continue;
      DrawLine(before == nullptr ? point : *before, point, colour);
      before = &point;
    }
    if (before == nullptr) return;
    const std::string text = absl::StrFormat("%s %.4g", curve.name, before->value);
    font_.Draw(image_, name_left_, 8 + font_.line_height(), text, colour);
    name_left_ += font_.Width(text) + 24;
  }

  absl::StatusOr<std::string> ToPng() const { return image_.ToPng(); }

 private:
  int X(double step) const {
    return kLeft + static_cast<int>(steps_.ShareOf(step) * (kWidth - kLeft - kRight - 1));
  }
  int Y(double value) const {
    return kHeight - kBottom - 1 -
           static_cast<int>(values_.ShareOf(value) * (kHeight - kTop - kBottom - 1));
  }

  void DrawLine(const CurvePoint& from, const CurvePoint& to, Colour colour) {
    const int x = X(from.step), y = Y(from.value), dx = X(to.step) - x, dy = Y(to.value) - y;
    const int pixels = std::max({std::abs(dx), std::abs(dy), 1});
    for (int i = 0; i <= pixels; ++i) {
      image_.Fill(x + dx * i / pixels, y + dy * i / pixels, 2, 2, colour);
    }
  }

  Image image_;
  Font font_;
  Extent steps_;
  Extent values_;
  int name_left_ = kLeft;
};

}  // namespace

absl::StatusOr<std::string> DrawCurves(const std::string& title, absl::Span<const Curve> curves) {
  Plot plot(curves);
  plot.DrawFrame(title);
  for (size_t i = 0; i < curves.size(); ++i) {
    plot.DrawCurve(curves[i], kCurves[i % std::size(kCurves)]);
  }
  return plot.ToPng();
}

}  // namespace peerage::train
