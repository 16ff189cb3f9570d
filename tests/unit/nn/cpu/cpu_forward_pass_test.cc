#include "model/nn/cpu/cpu_forward_pass.h"

#include <gtest/gtest.h>

#include "tests/support/expert_control_suite.h"
#include "tests/support/forward_pass_suite.h"

namespace peerage {
namespace {

// Three layers of f32 sums, of which each adds some 1e-6 to values near ten.
INSTANTIATE_TEST_SUITE_P(Cpu, ForwardPassSuite,
                         testing::Values(DeviceUnderTest{.name = "Cpu",
                                                         .load = nn::cpu::LoadForwardPass,
                                                         .plan_memory = nn::cpu::MemoryNeedsOf,
                                                         .tolerance = 1e-4,
                                                         .batch_invariant = true}),
                         DeviceName);

}  // namespace
}  // namespace peerage
