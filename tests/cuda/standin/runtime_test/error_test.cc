// Errors: of launches, injected, remembered, and of a device that is lost.
#include "tests/cuda/standin/runtime_test/runtime_test.h"

namespace peerage::standin_test {
namespace {

using ErrorTest = RuntimeTest;

TEST_F(ErrorTest, BadLaunchesAreRefusedAndDoNothing) {
  const auto launch = [&](dim3 grid, dim3 block, size_t shared) {
    return LaunchAddAs(grid, block, shared, in_, out_, kCount, 1, stream_);
  };
  EXPECT_EQ(launch(1, 0, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(0, 1, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 1025, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, dim3(1, 1, 65), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(dim3(1, 65536), 32, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 32, (48 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);

  EXPECT_EQ(launch(1, 256, 48 << 10), cudaSuccess);
  EXPECT_EQ(AllowShared((227 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(AllowShared(227 << 10), cudaSuccess);
  EXPECT_EQ(launch(1, 256, 227 << 10), cudaSuccess);
  EXPECT_EQ(AllowShared(48 << 10), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(First(out_), 2);
}

TEST_F(ErrorTest, LastErrorIsKeptUntilItIsTakenAndSuccessDoesNotClearIt) {
  EXPECT_EQ(cudaMemcpy(in_, in_, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
}

TEST_F(ErrorTest, InjectedErrorComesOnceAtItsTurn) {
  standin::Fail("cudaMalloc", cudaErrorMemoryAllocation, 1);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 64), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaSuccess);

  standin::Fail("cudaMalloc", cudaErrorMemoryAllocation, 0);
  standin::Fail("cudaMalloc", cudaErrorMemoryAllocation, 1);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaSuccess);
}

TEST_F(ErrorTest, SettingsTakeErrorsByName) {
  ASSERT_TRUE(standin::Set("fail=cudaStreamSynchronize:cudaErrorLaunchTimeout:0"));
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchTimeout);
  EXPECT_FALSE(standin::Set("fail=cudaMalloc:cudaErrorNoSuchThing:0"));
  EXPECT_FALSE(standin::Set("fail=cudaMalloc"));
  EXPECT_FALSE(standin::Set("schedule=soon"));
  EXPECT_FALSE(standin::Set("devices=3"));  // too late
}

// After one of these nothing works, until the device is reset.
class LostDeviceTest : public RuntimeTest, public testing::WithParamInterface<cudaError_t> {};

TEST_P(LostDeviceTest, FailsEveryCallUntilReset) {
  standin::Fail("cudaStreamSynchronize", GetParam());
  EXPECT_EQ(cudaStreamSynchronize(stream_), GetParam());

  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 64), GetParam());
  EXPECT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), GetParam());
  EXPECT_EQ(cudaStreamSynchronize(stream_), GetParam());
  EXPECT_EQ(cudaFree(in_), GetParam());
  EXPECT_EQ(cudaGetLastError(), GetParam());
  EXPECT_EQ(cudaGetLastError(), GetParam());
  EXPECT_EQ(cudaPeekAtLastError(), GetParam());
  int count = 0;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);

  EXPECT_EQ(cudaDeviceReset(), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&p, 64), cudaSuccess);
  EXPECT_EQ(standin::UsedBytes(), 512);
}

INSTANTIATE_TEST_SUITE_P(Errors, LostDeviceTest,
                         testing::Values(cudaErrorIllegalAddress, cudaErrorECCUncorrectable,
                                         cudaErrorLaunchFailure),
                         [](const auto& info) {
                           return std::string(cudaGetErrorName(info.param));
                         });

TEST_F(ErrorTest, TrapLosesTheDeviceWhenItRuns) {
  Use("lazy");
  EXPECT_EQ(LaunchTrap(stream_), cudaSuccess);
  EXPECT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaStreamSynchronize(other_), cudaErrorLaunchFailure);
}

TEST_F(ErrorTest, OutOfMemoryDoesNotLoseTheDevice) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, size_t{1} << 40), cudaErrorMemoryAllocation);
  EXPECT_EQ(LaunchAdd(in_, out_, kCount, 1, stream_), cudaSuccess);
}

TEST_F(ErrorTest, ErrorsHaveTheToolkitsNames) {
  EXPECT_STREQ(cudaGetErrorName(cudaSuccess), "cudaSuccess");
  EXPECT_STREQ(cudaGetErrorName(cudaErrorStreamCaptureWrongThread),
               "cudaErrorStreamCaptureWrongThread");
  EXPECT_STREQ(cudaGetErrorName(cudaErrorUnknown), "cudaErrorUnknown");
  EXPECT_STREQ(cudaGetErrorName(static_cast<cudaError_t>(12345)), "unrecognized error code");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
}

TEST_F(ErrorTest, WhatTheStandinLacksSaysSo) {
  void* p = nullptr;
  EXPECT_EQ(cudaMallocManaged(&p, 64), cudaErrorNotSupported);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotSupported);
  EXPECT_THAT(standin::TakeReports(), testing::ElementsAre("cudaMallocManaged is not supported"));
}

}  // namespace
}  // namespace peerage::standin_test
