#include "model/experts/map_frame.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/number_text.h"

namespace peerage {
namespace {

// "2026-11-29 14:02:10 to 14:04:40 UTC", with the date again where it is another.
std::string PeriodText(absl::Time start, absl::Time end) {
  const auto text = [](const char* format, absl::Time time) {
    return absl::FormatTime(format, time, absl::UTCTimeZone());
  };
  const std::string day = text("%Y-%m-%d", start);
  const bool same_day = text("%Y-%m-%d", end) == day;
  return absl::StrCat(day, text(" %H:%M:%S", start), " to ",
                      text(same_day ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", end), " UTC");
}

// The least of 1, 2, 5, 10, 20, ... whose numbers are at least `apart` pixels from each other.
int TickStep(int cell, int apart) {
  for (int power = 1;; power *= 10) {
    for (const int digit : {1, 2, 5}) {
      if (int64_t{digit} * power * cell >= apart) return digit * power;
    }
  }
}

}  // namespace

void MapFrame::DrawCaption(Image& image, const MapCaption& caption) const {
  const int width = image.width() - 2 * margin();
  const std::string title = absl::StrCat(caption.model, ", ", caption.experts);
  title_.Draw(image, margin(), margin(), title_.Fit(title, width), kInk);
  const std::string window =
      absl::StrCat(caption.window, " window, ", PeriodText(caption.start, caption.end), ", ",
                   FormatWhole(caption.tokens), " tokens");
  text_.Draw(image, margin(), margin() + title_.line_height(), text_.Fit(window, width), kInk);
}

void MapFrame::DrawTopAxis(Image& image, int left, int bottom, const MapAxis& axis) const {
  const int numbers_top = bottom - tick() - text_.line_height();
  text_.DrawCentred(image, left + axis.count * axis.cell / 2, numbers_top - text_.line_height(),
                    axis.name, kInk);
  const int step = TickStep(axis.cell, text_.Width(absl::StrCat(axis.count)) + 3 * gap());
  for (int i = 0; i < axis.count; i += step) {
    const int center = left + i * axis.cell + axis.cell / 2;
    image.Fill(center - zoom_ / 2, bottom - tick(), zoom_, tick(), kInk);
    text_.DrawCentred(image, center, numbers_top, absl::StrCat(i), kInk);
  }
}

int MapFrame::left_axis_width(const MapAxis& axis) const {
  return text_.line_height() + text_.Width(absl::StrCat(axis.count)) + gap() + tick();
}

void MapFrame::DrawLeftAxis(Image& image, int right, int top, const MapAxis& axis) const {
  const int height = axis.count * axis.cell;
  text_.DrawUpwards(image, right - left_axis_width(axis),
                    top + (height - text_.Width(axis.name)) / 2, axis.name, kInk);
  const int step = TickStep(axis.cell, 2 * text_.line_height());
  for (int i = 0; i < axis.count; i += step) {
    const int center = top + i * axis.cell + axis.cell / 2;
    const std::string number = absl::StrCat(i);
    image.Fill(right - tick(), center - zoom_ / 2, tick(), zoom_, kInk);
    text_.Draw(image, right - tick() - gap() / 2 - text_.Width(number),
               center - text_.line_height() / 2, number, kInk);
  }
}

void MapFrame::DrawLegend(Image& image, int top, const std::string& meaning, Palette palette,
                          const std::vector<MapMark>& marks) const {
  const int length = image.width() - 2 * margin();
  const int bar = top + text_.line_height();
  const int bar_end = bar + 16 * zoom_;
  text_.Draw(image, margin(), top, text_.Fit(meaning, length), kInk);
  for (int x = 0; x < length; ++x) {
    image.Fill(margin() + x, bar, 1, bar_end - bar, HeatColour((x + 0.5) / length, palette));
  }
  int free_until = image.width();
  for (auto mark = marks.rbegin(); mark != marks.rend(); ++mark) {
    const int at = std::min(static_cast<int>(mark->position * length), length - zoom_);
    const int width = text_.Width(mark->text);
    const int left = std::clamp(margin() + at - width / 2, margin(), margin() + length - width);
    if (left + width > free_until) continue;
    image.Fill(margin() + at, bar_end, zoom_, tick(), kInk);
    text_.Draw(image, left, bar_end + tick(), mark->text, kInk);
    free_until = left - gap();
  }
}

}  // namespace peerage
