#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "tests/support/temporary_directory.h"
#include "train/config/run_config.h"
#include "train/training/training_run.h"

namespace peerage::train {

inline constexpr char kGoldenModels[] = "tests/golden/models/";
inline constexpr char kTexts[] = "tests/golden/texts";

// A run of a few small steps; each section's lines may be given in place of these.
class RunFixture {
 public:
  explicit RunFixture(const std::string& model = std::string(kGoldenModels) + "peerage_sequential");

  // The lines of a section: "optimizer" and so on.
  std::string& operator[](const std::string& section) { return sections_[section]; }
  // Has the run train a new model of the config.json in place of one that exists.
  void MakeNew(const std::string& config);
  std::string out() const { return folder_.PathOf("out"); }
  const TemporaryDirectory& folder() const { return folder_; }

  // Writes the config's file and reads it.
  absl::StatusOr<RunConfig> Config(const RunOverrides& overrides = {}) const;
  // The error of a run that cannot be opened, or of its config.
  absl::Status OpenError(bool resume = false) const;
  // Dies with the reason when it cannot be opened.
  std::unique_ptr<TrainingRun> OpenOrDie(bool resume = false) const;

 private:
  TemporaryDirectory folder_;
  std::map<std::string, std::string> sections_;
};

// Trains to the end, or until `stop_after` steps are done in all, as Ctrl-C would stop it there.
absl::Status TrainUntil(TrainingRun& run, int64_t stop_after);

}  // namespace peerage::train
