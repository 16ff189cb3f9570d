#pragma once

#include <gtest/gtest.h>

#include "hwy/targets.h"

namespace peerage::kernels {

// Makes every kernel run with one instruction set of Highway's.
inline void ChooseTarget(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// Calls check() once with each instruction set of this CPU, from AVX2 on; then the choice is again
// Highway's own.
template <typename Check>
void ForEachTarget(const Check& check) {
  const int64_t supported = hwy::SupportedTargets();
  for (const int64_t target : {HWY_AVX2, HWY_AVX3}) {
    if ((supported & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    ChooseTarget(target);
    check();
  }
  ChooseTarget(0);
}

}  // namespace peerage::kernels
