// Devices: two of them with memory of their own, what they say they are, occupancy.
#include <thread>

#include "tests/cuda/standin/runtime_test/runtime_test.h"

namespace peerage::standin_test {
namespace {

using testing::ElementsAre;

class DeviceTest : public RuntimeTest {
 protected:
  ~DeviceTest() override {
    cudaSetDevice(1);
    cudaDeviceReset();
    cudaSetDevice(0);
  }
};

TEST_F(DeviceTest, EachThreadHasADevice) {
  int count = 0, here = -1, there = -1;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  ASSERT_EQ(count, 2);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  std::thread([&] { EXPECT_EQ(cudaGetDevice(&there), cudaSuccess); }).join();
  ASSERT_EQ(cudaGetDevice(&here), cudaSuccess);
  EXPECT_EQ(here, 1);
  EXPECT_EQ(there, 0);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(-1), cudaErrorInvalidDevice);
}

TEST_F(DeviceTest, MemoryIsApartAndCopiedBetweenDevices) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  const uint64_t before = standin::UsedBytes(0);
  float* there = nullptr;
  cudaStream_t stream;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&there), kBytes), cudaSuccess);
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  EXPECT_EQ(standin::UsedBytes(0), before);
  EXPECT_EQ(standin::UsedBytes(1), kBytes);

  ASSERT_EQ(cudaMemcpyPeerAsync(there, 1, in_, 0, kBytes, stream), cudaSuccess);
  ASSERT_EQ(LaunchAdd(there, there, kCount, 2, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  ASSERT_EQ(cudaMemcpy(out_, there, kBytes, cudaMemcpyDeviceToDevice), cudaSuccess);
  EXPECT_EQ(First(out_), 3);
  EXPECT_EQ(cudaMemcpyPeer(there, 0, in_, 0, kBytes), cudaErrorInvalidValue);  // it is device 1's
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(DeviceTest, KernelAtAnotherDevicesMemoryIsCaught) {
  Use("lazy");
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(LaunchAdd(in_, in_, kCount, 1, nullptr), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  // The other device is not lost.
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(DeviceTest, StreamOfAnotherDeviceIsRefused) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(LaunchAdd(in_, in_, kCount, 1, stream_), cudaErrorInvalidResourceHandle);
}

TEST_F(DeviceTest, EventsOrderStreamsOfTwoDevices) {
  Use("lazy");
  cudaEvent_t done;
  cudaStream_t there;
  float* copy = nullptr;
  ASSERT_EQ(cudaEventCreate(&done), cudaSuccess);
  ASSERT_EQ(LaunchAdd(in_, in_, kCount, 1, stream_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(done, stream_), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  ASSERT_EQ(cudaStreamCreate(&there), cudaSuccess);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&copy), kBytes), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(there, done, 0), cudaSuccess);
  ASSERT_EQ(cudaMemcpyPeerAsync(copy, 1, in_, 0, kBytes, there), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(there), cudaSuccess);
  EXPECT_EQ(First(copy), 2);
  EXPECT_EQ(cudaStreamDestroy(there), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(done), cudaSuccess);
}

TEST_F(DeviceTest, LooksLikeAnH100) {
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 1), cudaSuccess);
  EXPECT_STREQ(properties.name, "stand-in for an H100");
  EXPECT_EQ(properties.major, 9);
  EXPECT_EQ(properties.multiProcessorCount, 132);
  EXPECT_EQ(properties.totalGlobalMem, size_t{1} << 30);
  int optin = 0, bus = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&optin, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0),
            cudaSuccess);
  EXPECT_EQ(optin, 227 << 10);
  EXPECT_EQ(properties.sharedMemPerBlockOptin, size_t{227} << 10);
  ASSERT_EQ(cudaDeviceGetAttribute(&bus, cudaDevAttrPciBusId, 1), cudaSuccess);
  EXPECT_EQ(bus, 2);
  EXPECT_EQ(cudaDeviceGetAttribute(&bus, cudaDevAttrPciBusId, 2), cudaErrorInvalidDevice);
}

TEST_F(DeviceTest, OccupancyFollowsThreadsSharedMemoryAndRegisters) {
  cudaFuncAttributes attributes;
  ASSERT_EQ(cudaFuncGetAttributes(&attributes, AddKernel()), cudaSuccess);
  EXPECT_EQ(attributes.maxThreadsPerBlock, 1024);
  EXPECT_GT(attributes.numRegs, 0);
  EXPECT_LE(attributes.numRegs, 64);
  int blocks = 0;
  ASSERT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, AddKernel(), 1024, 0),
            cudaSuccess);
  EXPECT_EQ(blocks, attributes.numRegs > 32 ? 1 : 2);
  ASSERT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, AddKernel(), 32, 100 << 10),
            cudaSuccess);
  EXPECT_EQ(blocks, 2);
  EXPECT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, &blocks, 32, 0),
            cudaErrorInvalidDeviceFunction);
}

TEST_F(DeviceTest, SharedMemoryIsAllowedForOneDevice) {
  ASSERT_EQ(AllowShared(100 << 10), cudaSuccess);
  EXPECT_EQ(LaunchAddAs(1, 32, 100 << 10, in_, in_, 32, 1, stream_), cudaSuccess);
  ASSERT_EQ(AllowShared(48 << 10), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(LaunchAddAs(1, 32, 100 << 10, in_, in_, 32, 1, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace peerage::standin_test
