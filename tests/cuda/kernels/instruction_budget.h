#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/cuda/support/standin_control.h"

namespace peerage::kernels::cuda {

// That a kernel has executed no more instructions of warps than `budget` since ResetCounters,
// within 5 %. Nor many fewer: then the budget is out of date, and would let the next regression
// pass.
inline void ExpectInstructions(const std::string& kernel, uint64_t budget) {
  const uint64_t instructions = standin::Counters(kernel).instructions;
  EXPECT_LE(instructions, budget + budget / 20) << kernel;
  EXPECT_GE(instructions, budget - budget / 10) << kernel << " takes less: lower its budget";
}

}  // namespace peerage::kernels::cuda
