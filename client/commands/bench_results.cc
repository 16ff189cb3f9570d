#include "client/commands/bench_results.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/commands/output_file.h"

namespace peerage::client {

absl::Status BenchResults::Save(const RunDescription& run, const Json& result) {
  const BenchOutput& output = options_.output();
  if (!output.save && !output.append) return absl::OkStatus();
  const bool append = output.append || !file_.empty();
  if (file_.empty()) file_ = FileOf(run);
  return WriteFile(file_, JsonLine(result), append ? WriteMode::kAppend : WriteMode::kReplace);
}

absl::Status BenchResults::Draw(const std::vector<LoadPoint>& points) const {
  const std::string& path = options_.output().png;
  if (path.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string png, DrawLineChart(ChartOf(points)).ToPng());
  return WriteFile(path, png);
}

// Called as vLLM's are.
std::string BenchResults::FileOf(const RunDescription& run) const {
  const BenchOutput& output = options_.output();
  if (!output.result_filename.empty()) return output.result_filename;
  const std::string model = run.model.substr(run.model.rfind('/') + 1);
  return absl::StrCat(output.label.empty() ? "peerage" : output.label, "-", options_.LoadWord(),
                      "-", model, "-", run.date, ".json");
}

}  // namespace peerage::client
