#include "train/training/schedule.h"

#include <cmath>
#include <numbers>

namespace peerage::train {

double ScheduleFactor(const ScheduleSection& schedule, int64_t step) {
  if (step < schedule.warmup_steps) {
    return static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps);
  }
  const double fall = 1 - schedule.final_ratio;
  if (schedule.kind == ScheduleKind::kCosine) {
    const auto steps = static_cast<double>(schedule.steps - schedule.warmup_steps);
    const double done = static_cast<double>(step + 1 - schedule.warmup_steps) / steps;
    return schedule.final_ratio + fall * 0.5 * (1 + std::cos(std::numbers::pi * done));
  }
  const int64_t falling = step + 1 - (schedule.steps - schedule.decay_steps);
  if (schedule.kind == ScheduleKind::kConstant || falling <= 0) return 1;
  return 1 - fall * static_cast<double>(falling) / static_cast<double>(schedule.decay_steps);
}

}  // namespace peerage::train
