#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "hwy/targets.h"

namespace peerage::kernels {

// What every CPU runs: the portable code.
inline constexpr int64_t kPortableTarget = HWY_STATIC_TARGET;

// The instruction sets of this CPU that kernels are compiled for, the portable code first.
inline std::vector<int64_t> KernelTargets() {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t supported = hwy::SupportedTargets();
  std::vector<int64_t> targets = {kPortableTarget};
  for (const int64_t target : {HWY_AVX2, HWY_AVX3, HWY_AVX3_DL}) {
    if ((supported & target) != 0) targets.push_back(target);
  }
  return targets;
}

// Kernels run as on a CPU of the given target, while this lives.
class ScopedKernelTarget {
 public:
  explicit ScopedKernelTarget(int64_t target) {
    hwy::SetSupportedTargetsForTest(0);
    const int64_t not_better = ~(target - 1);  // better targets are lower bits
    Choose(hwy::SupportedTargets() & not_better);
  }
  ~ScopedKernelTarget() { Choose(0); }
  ScopedKernelTarget(const ScopedKernelTarget&) = delete;
  ScopedKernelTarget& operator=(const ScopedKernelTarget&) = delete;

 private:
  static void Choose(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

// Calls check() once with each of them.
template <typename Check>
void ForEachTarget(const Check& check) {
  for (const int64_t target : KernelTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    const ScopedKernelTarget scoped(target);
    check();
  }
}

// From AVX2 on: for what portable code rounds otherwise, since it has no fused multiply-add.
template <typename Check>
void ForEachVectorTarget(const Check& check) {
  for (const int64_t target : KernelTargets()) {
    if (target == kPortableTarget) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    const ScopedKernelTarget scoped(target);
    check();
  }
}

}  // namespace peerage::kernels
