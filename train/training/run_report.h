#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "model/experts/expert_figures.h"
#include "model/experts/expert_usage.h"
#include "train/network/learning_model.h"
#include "train/training/training_run.h"

namespace peerage::train {

// What some steps of a run found, together.
struct Progress {
  int64_t step = 0;   // done so far
  int64_t steps = 0;  // of the run
  double learning_rate = 0;
  StepFigures figures;  // means over these steps
  double tokens_per_second = 0;
  absl::Duration left;                 // until the last step, at this speed
  std::vector<ExpertFigures> experts;  // of every expert layer, over these steps
};

// Of every layer, from the counts of TakeUsage.
std::vector<ExpertFigures> FiguresOf(const std::vector<ExpertLayer>& layers,
                                     const std::vector<ExpertCounts>& counts);

// "step 120/1,000  loss 3.412  |g| 0.87  lr 9.1e-04  1,240 tokens/s  12m left  15.peer 68.9 % used
// (chance 99.7 %), KL 2.40 (chance 0.07)": of several expert layers the one that uses the least.
std::string ProgressLine(const Progress& progress, const std::vector<ExpertLayer>& layers);

// One line of training.jsonl.
nlohmann::ordered_json ProgressJson(const Progress& progress,
                                    const std::vector<ExpertLayer>& layers);
nlohmann::ordered_json HeldOutJson(int64_t step, const std::vector<HeldOutFigures>& figures);
std::string HeldOutLine(const std::vector<HeldOutFigures>& figures);

}  // namespace peerage::train
