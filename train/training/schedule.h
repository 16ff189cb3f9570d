#pragma once

#include <cstdint>

#include "train/config/run_config.h"

namespace peerage::train {

// What the learning rate of step `step` (0 to steps - 1) is multiplied by. A linear rise over the
// warm-up steps; then constant, half a cosine down to final_ratio (Loshchilov and Hutter 2017), or
// constant and over the last decay_steps linearly down to final_ratio (the trapezoid of Hägele et
// al. 2024).
double ScheduleFactor(const ScheduleSection& schedule, int64_t step);

}  // namespace peerage::train
