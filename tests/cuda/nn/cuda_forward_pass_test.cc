#include <gtest/gtest.h>

#include "tests/cuda/nn/f32_device.h"
#include "tests/support/forward_pass_suite.h"

namespace peerage {
namespace {

INSTANTIATE_TEST_SUITE_P(Cuda, ForwardPassSuite,
                         testing::Values(F32Device("OwnKernels", true),
                                         F32Device("CuBlasLt", false)),
                         DeviceName);

}  // namespace
}  // namespace peerage
