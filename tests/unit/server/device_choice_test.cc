#include "server/device_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A machine with one CUDA device, or with none and a build that has CUDA.
KnownDevices OneCudaDevice() {
  return {.choose =
              [] { return nn::DeviceChoice{.device = "cuda:0", .reason = "the only CUDA device"}; },
          .check =
              [](absl::string_view device) {
                return device == "cpu" || device == "cuda:0"
                           ? absl::OkStatus()
                           : absl::InvalidArgumentError("there is no such device");
              }};
}

KnownDevices NoCudaDevice() {
  return {.choose = [] { return nn::DeviceChoice{.device = "cpu", .reason = "no driver"}; },
          .check =
              [](absl::string_view device) {
                return device == "cpu" ? absl::OkStatus() : absl::UnavailableError("no driver");
              }};
}

std::string ErrorOf(const ServerConfig& config, const KnownDevices& devices) {
  const auto choice = ChooseDevice(config, devices);
  return choice.ok() ? "no error" : std::string(choice.status().message());
}

TEST(DeviceChoiceTest, TakesACudaDeviceByItselfWhereThereIsOneAndSaysWhy) {
  const auto choice = ChooseDevice({}, OneCudaDevice());
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->device, "cuda:0");
  EXPECT_EQ(choice->reason, "the only CUDA device");

  const auto other = ChooseDevice({}, NoCudaDevice());
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->device, "cpu");
  EXPECT_EQ(other->reason, "no driver");
}

TEST(DeviceChoiceTest, TakesTheDeviceThatIsNamedWithoutAReason) {
  for (const std::string device : {"cpu", "cuda:0"}) {
    const auto choice = ChooseDevice({.device = device}, OneCudaDevice());
    ASSERT_TRUE(choice.ok()) << choice.status();
    EXPECT_EQ(choice->device, device);
    EXPECT_EQ(choice->reason, "");
  }
}

TEST(DeviceChoiceTest, RefusesADeviceThatIsNotThereWithTheReason) {
  EXPECT_EQ(ErrorOf({.device = "cuda:0"}, NoCudaDevice()),
            "--device: 'cuda:0': no driver; use auto or cpu");
  EXPECT_EQ(ErrorOf({.device = "cuda:1"}, OneCudaDevice()),
            "--device: 'cuda:1': there is no such device; use auto or cpu");
}

TEST(DeviceChoiceTest, TakesSeveralDevicesIfEachIsThereAndNamedOnce) {
  EXPECT_EQ(ErrorOf({.device = "cuda:0,cuda:1"}, OneCudaDevice()),
            "--device: 'cuda:1': there is no such device; use auto or cpu");
  EXPECT_EQ(ErrorOf({.device = "cuda:0,cuda:0"}, OneCudaDevice()),
            "--device: 'cuda:0,cuda:0' names cuda:0 twice");
  KnownDevices two = OneCudaDevice();
  two.check = [](absl::string_view device) { return absl::OkStatus(); };
  const auto choice = ChooseDevice({.device = "cuda:1,cuda:0"}, two);
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->device, "cuda:1,cuda:0");
}

TEST(DeviceChoiceTest, SeveralWorkersAreForTheCpuOrOneForEachDevice) {
  EXPECT_EQ(ErrorOf({.workers = 3}, NoCudaDevice()), "no error");
  EXPECT_EQ(ErrorOf({.device = "cuda:0", .workers = 2}, OneCudaDevice()),
            "--workers: '2', and the model would run on cuda:0, with a worker for each device; "
            "leave it out");
  KnownDevices two = OneCudaDevice();
  two.check = [](absl::string_view device) { return absl::OkStatus(); };
  EXPECT_EQ(ErrorOf({.device = "cuda:0,cuda:1", .workers = 2}, two), "no error");
}

TEST(DeviceChoiceTest, RefusesOnTheCpuWhatOnlyCudaDevicesHold) {
  EXPECT_EQ(ErrorOf({.device = "cpu", .activation_dtype = "bf16"}, OneCudaDevice()),
            "--activation-dtype: 'bf16' is for CUDA devices, and the model would run on the CPU; "
            "use auto or f32");
  EXPECT_THAT(ErrorOf({.kv_dtype = "bf16"}, NoCudaDevice()),
              AllOf(HasSubstr("--kv-dtype: 'bf16'"), HasSubstr("the CPU (no driver)")));
  EXPECT_EQ(ErrorOf({.activation_dtype = "bf16", .kv_dtype = "bf16"}, OneCudaDevice()), "no error");
}

TEST(DeviceChoiceTest, LetsTheCpuHaveWhatItAlwaysDoes) {
  EXPECT_EQ(ErrorOf({.device = "cpu",
                     .activation_dtype = "f32",
                     .kv_dtype = "f32",
                     .cuda_batch_invariant = true},
                    OneCudaDevice()),
            "no error");
}

TEST(DeviceChoiceTest, RefusesOnCudaDevicesWhatOnlyTheCpuHolds) {
  EXPECT_EQ(ErrorOf({.weights_dtype = "q4_1"}, OneCudaDevice()),
            "--weights-dtype: 'q4_1' is for the CPU, and the model would run on cuda:0 (the only "
            "CUDA device); use auto or f32");
  EXPECT_EQ(ErrorOf({.device = "cpu", .weights_dtype = "q4_1"}, OneCudaDevice()), "no error");
}

}  // namespace
}  // namespace peerage
