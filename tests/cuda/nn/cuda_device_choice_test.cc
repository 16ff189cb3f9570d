// What a process takes by itself, by what the CUDA runtime says of devices and drivers. There are
// three devices.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/nn/load_model.h"
#include "tests/cuda/support/standin_control.h"

namespace peerage::nn {
namespace {

using testing::HasSubstr;

TEST(CudaDeviceChoiceTest, TakesTheFirstDevice) {
  const DeviceChoice choice = ChooseDevice();
  EXPECT_EQ(choice.device, "cuda:0");
  EXPECT_EQ(choice.reason, "the first of 3 CUDA devices");
  EXPECT_FALSE(choice.passes_over);
}

TEST(CudaDeviceChoiceTest, ThatThereIsNoDeviceIsNothingToWorryAbout) {
  standin::Fail("cudaGetDeviceCount", cudaErrorNoDevice);
  const DeviceChoice choice = ChooseDevice();
  EXPECT_EQ(choice.device, "cpu");
  EXPECT_EQ(choice.reason, "there is no CUDA device");
  EXPECT_FALSE(choice.passes_over);
}

TEST(CudaDeviceChoiceTest, SaysWhichDriverAnOldOneWouldHaveToBe) {
  standin::Fail("cudaGetDeviceCount", cudaErrorInsufficientDriver);
  const DeviceChoice choice = ChooseDevice();
  EXPECT_EQ(choice.device, "cpu");
  EXPECT_EQ(choice.reason,
            "the driver serves CUDA 13.0, and this program is of CUDA 13.0, which needs driver 580 "
            "or newer");
  EXPECT_TRUE(choice.passes_over);
}

TEST(CudaDeviceChoiceTest, TakesTheFirstDeviceThatServes) {
  standin::Fail("cudaDeviceGetAttribute", cudaErrorInvalidValue);
  const DeviceChoice choice = ChooseDevice();
  EXPECT_EQ(choice.device, "cuda:1");
  EXPECT_THAT(choice.reason, HasSubstr("the first of 3 CUDA devices that serves; "));
  EXPECT_TRUE(choice.passes_over);
}

TEST(CudaDeviceChoiceTest, TakesTheCpuWhereNoDeviceServes) {
  for (int i = 0; i < 3; ++i) standin::Fail("cudaDeviceGetAttribute", cudaErrorInvalidValue, i);
  const DeviceChoice choice = ChooseDevice();
  EXPECT_EQ(choice.device, "cpu");
  EXPECT_THAT(choice.reason, HasSubstr("cudaDeviceGetAttribute"));
  EXPECT_TRUE(choice.passes_over);
}

}  // namespace
}  // namespace peerage::nn
