#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "train/training/training_run.h"

namespace peerage::train {

// What a run asks of the program around it.
struct TrainHooks {
  std::function<absl::Time()> now = absl::Now;
  std::function<void(const std::string& line)> say;
  // Asked between steps and between held-out sequences: the run saves its state and ends,
  // CANCELLED. It goes on without the figures that were not whole, but for those at its end.
  std::function<bool()> stopped = [] { return false; };
};

// Trains until the last step and writes the model. On the way it says how it goes, adds to
// OUT/training.jsonl, saves checkpoints and evaluates, as often as the config says. An error leaves
// the last checkpoint whole, and says which it is.
absl::Status Train(TrainingRun& run, const TrainHooks& hooks);

}  // namespace peerage::train
