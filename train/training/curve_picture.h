#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace peerage::train {

// One value of a curve.
struct CurvePoint {
  double step = 0;
  double value = 0;
};

struct Curve {
  std::string name;
  std::vector<CurvePoint> points;  // in the order of their steps
};

// The bytes of a PNG: curves over steps in one frame, each with its name and its last value. Values
// that are not finite are left out; a curve of one point is a dot.
absl::StatusOr<std::string> DrawCurves(const std::string& title, absl::Span<const Curve> curves);

}  // namespace peerage::train
