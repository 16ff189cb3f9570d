// The needle trials with a kernel whose sums depend on the rest of the batch: what would find
// nothing there would prove nothing elsewhere.
#include <gtest/gtest.h>

#include <cstdint>
#include <iostream>
#include <optional>
#include <string>

#include "tests/support/needle_trial.h"

namespace peerage {
namespace {

TEST(PlantedNeedleTest, AKernelThatDependsOnTheBatchIsFound) {
  constexpr uint64_t kMostTrials = 100;
  std::optional<std::string> found;
  uint64_t seed = 0;
  while (!found && seed < kMostTrials) found = RunNeedleTrial(++seed);
  ASSERT_TRUE(found);
  EXPECT_NE(found->find("expected, is"), std::string::npos) << *found;
  std::cout << "found by trial " << seed << ": " << found->substr(0, 400) << std::endl;
}

}  // namespace
}  // namespace peerage
