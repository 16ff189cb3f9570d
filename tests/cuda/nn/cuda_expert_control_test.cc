#include <gtest/gtest.h>

#include "tests/cuda/nn/f32_device.h"
#include "tests/support/expert_control_suite.h"

namespace peerage {
namespace {

// Whose matrices multiply is no matter here; with own kernels bits can be compared.
INSTANTIATE_TEST_SUITE_P(Cuda, ForwardPassSuite, testing::Values(F32Device("OwnKernels", true)),
                         DeviceName);

}  // namespace
}  // namespace peerage
