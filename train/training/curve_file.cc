#include "train/training/curve_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr char kLinesName[] = "training.jsonl";
constexpr char kPictureName[] = "training.png";
constexpr uint64_t kMaxBytes = uint64_t{1} << 32;

// The whole lines of steps up to `step`.
std::vector<ordered_json> LinesUpTo(const std::string& text, int64_t step) {
  std::vector<ordered_json> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    ordered_json json =
        ordered_json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    const auto at = json.is_object() ? json.find("step") : json.end();
    if (at != json.end() && at->is_number() && *at <= step) lines.push_back(std::move(json));
  }
  return lines;
}

absl::Status WriteTo(const std::string& path, std::ios::openmode mode, const std::string& bytes) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | mode);
  file << bytes << std::flush;
  if (file) return absl::OkStatus();
  return absl::UnknownError(
      absl::StrCat(path, ": ", errno == 0 ? "cannot be written" : std::strerror(errno)));
}

}  // namespace

std::string CurveFile::PathOf(const char* name) const { return (fs::path(out_) / name).string(); }

absl::StatusOr<std::unique_ptr<CurveFile>> CurveFile::Open(const std::string& out, int64_t step) {
  std::error_code error;
  fs::create_directories(out, error);
  if (error) return absl::UnknownError(absl::StrCat(out, ": ", error.message()));
  std::unique_ptr<CurveFile> curve(new CurveFile(out));
  const std::string path = curve->PathOf(kLinesName);
  std::string text, kept;
  if (fs::exists(path, error)) {
    ASSIGN_OR_RETURN(text, ReadTextFile(path, kMaxBytes));
    for (const ordered_json& line : LinesUpTo(text, step)) {
      curve->Note(line);
      absl::StrAppend(&kept, line.dump(), "\n");
    }
  }
  if (kept == text && fs::exists(path, error)) return curve;
  // The lines that are there stay until all that are kept are written.
  const std::string partial = absl::StrCat(path, ".partial");
  RETURN_IF_ERROR(WriteTo(partial, std::ios::trunc, kept));
  fs::rename(partial, path, error);
  if (error) return absl::UnknownError(absl::StrCat(path, ": ", error.message()));
  return curve;
}

void CurveFile::AddPoint(const std::string& name, const CurvePoint& point) {
  auto curve = std::find_if(curves_.begin(), curves_.end(),
                            [&](const Curve& known) { return known.name == name; });
  if (curve == curves_.end()) curve = curves_.insert(curve, {.name = name, .points = {}});
  curve->points.push_back(point);
}

void CurveFile::Note(const ordered_json& line) {
  const double step = line.value("step", 0.0);
  if (line.contains("loss") && line["loss"].is_number())
    AddPoint("training", {step, line["loss"].get<double>()});
  if (!line.contains("held_out")) return;
  for (const ordered_json& file : line["held_out"]) {
    const std::string name = fs::path(file.value("file", "")).filename();
    AddPoint(name, {step, file.value("loss", 0.0)});
  }
}

absl::Status CurveFile::Add(const ordered_json& line) {
  Note(line);
  return WriteTo(PathOf(kLinesName), std::ios::app, line.dump() + "\n");
}

absl::Status CurveFile::Draw() const {
  ASSIGN_OR_RETURN(const std::string png, DrawCurves("loss by step", curves_));
  return WriteTo(PathOf(kPictureName), std::ios::trunc, png);
}

}  // namespace peerage::train
