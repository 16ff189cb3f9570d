#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "train/training/curve_picture.h"

namespace peerage::train {

// OUT/training.jsonl, a JSON object a line, each with its "step"; and OUT/training.png, the losses
// that the lines have: "loss", and the "loss" of each file in "held_out".
class CurveFile {
 public:
  // Goes on behind the lines up to `step`; later ones, of steps that a run does again after it was
  // killed, are dropped.
  static absl::StatusOr<std::unique_ptr<CurveFile>> Open(const std::string& out, int64_t step);

  absl::Status Add(const nlohmann::ordered_json& line);

  // Writes the picture anew.
  absl::Status Draw() const;

 private:
  explicit CurveFile(std::string out) : out_(std::move(out)) {}

  std::string PathOf(const char* name) const;
  void Note(const nlohmann::ordered_json& line);
  void AddPoint(const std::string& curve, const CurvePoint& point);

  const std::string out_;
  std::vector<Curve> curves_;
};

}  // namespace peerage::train
