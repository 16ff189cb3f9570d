// Device and pinned memory: what is given, what it holds, and who is told when it is misused.
#include <cmath>

#include "tests/cuda/standin/runtime_test/runtime_test.h"

namespace peerage::standin_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using MemoryTest = RuntimeTest;

uint8_t* Bytes(void* p) { return static_cast<uint8_t*>(p); }

TEST_F(MemoryTest, WhatNobodyWroteIsNotANumber) {
  std::vector<float> values(kCount, 0);

  ASSERT_EQ(cudaMemcpy(values.data(), out_, kBytes, cudaMemcpyDeviceToHost), cudaSuccess);

  for (const float value : values) EXPECT_TRUE(std::isnan(value));
}

TEST_F(MemoryTest, LargeMemoryIsNotANumberAtBothEndsAndCostsNothing) {
  constexpr size_t kLarge = (size_t{900} << 20) + 12345;
  void* large = nullptr;
  ASSERT_EQ(cudaMalloc(&large, kLarge), cudaSuccess);

  for (const size_t at : {size_t{0}, size_t{5} << 20, kLarge - 8}) {
    uint64_t value = 0;
    ASSERT_EQ(cudaMemcpy(&value, Bytes(large) + at, 8, cudaMemcpyDeviceToHost), cudaSuccess);
    EXPECT_EQ(value, ~uint64_t{0}) << at;
  }

  EXPECT_EQ(cudaFree(large), cudaSuccess);
}

TEST_F(MemoryTest, FreedMemoryIsFreeAgainAndItsAddressIsNot) {
  size_t before = 0, during = 0, after = 0, total = 0;
  void *first = nullptr, *second = nullptr;
  ASSERT_EQ(cudaMemGetInfo(&before, &total), cudaSuccess);
  ASSERT_EQ(cudaMalloc(&first, 1 << 20), cudaSuccess);
  ASSERT_EQ(cudaMemGetInfo(&during, &total), cudaSuccess);
  ASSERT_EQ(cudaFree(first), cudaSuccess);
  ASSERT_EQ(cudaMemGetInfo(&after, &total), cudaSuccess);
  ASSERT_EQ(cudaMalloc(&second, 1 << 20), cudaSuccess);

  EXPECT_EQ(before - during, 1 << 20);
  EXPECT_EQ(after, before);
  EXPECT_NE(first, second);
  EXPECT_EQ(total, size_t{1} << 30);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 256, 0);
  EXPECT_EQ(cudaFree(second), cudaSuccess);
}

TEST_F(MemoryTest, TellsWhenThereIsNoMoreMemory) {
  void* p = &p;
  EXPECT_EQ(cudaMalloc(&p, (size_t{1} << 30) + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);

  void *most = nullptr, *rest = nullptr;
  size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&most, free), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&rest, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaFree(most), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&rest, 1), cudaSuccess);
  EXPECT_EQ(cudaFree(rest), cudaSuccess);
}

TEST_F(MemoryTest, CopyBeyondAnAllocationIsCaught) {
  EXPECT_EQ(cudaMemcpyAsync(in_, pinned_, kBytes, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  EXPECT_THAT(standin::TakeReports(), testing::IsEmpty());

  EXPECT_EQ(cudaMemcpyAsync(in_ + 1, pinned_, kBytes, cudaMemcpyHostToDevice, stream_),
            cudaErrorInvalidValue);
  EXPECT_THAT(standin::TakeReports(),
              ElementsAre("a copy to 1024 bytes from byte 4 of an allocation of 1024 bytes"));

  EXPECT_EQ(cudaMemset(in_, 0, kBytes + 1), cudaErrorInvalidValue);
  EXPECT_THAT(standin::TakeReports(), ElementsAre(HasSubstr("a memset of 1025 bytes")));
}

TEST_F(MemoryTest, KernelBeyondAnAllocationIsCaught) {
  Use("lazy");
  float* small = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&small), 255 * sizeof(float)), cudaSuccess);

  EXPECT_EQ(LaunchAdd(in_, small, 255, 1, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);

  EXPECT_EQ(LaunchAdd(in_, small, 256, 1, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
}

TEST_F(MemoryTest, DoubleFreeIsCaught) {
  void* p = nullptr;
  ASSERT_EQ(cudaMalloc(&p, 64), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_THAT(standin::TakeReports(), testing::IsEmpty());

  EXPECT_EQ(cudaFree(p), cudaErrorInvalidValue);
  EXPECT_THAT(standin::TakeReports(),
              ElementsAre("cudaFree of byte 0 of an allocation of 64 bytes that was freed"));
  EXPECT_EQ(cudaFree(in_ + 64), cudaErrorInvalidValue);
  EXPECT_THAT(standin::TakeReports(), ElementsAre(HasSubstr("cudaFree of byte 256 of")));
  EXPECT_EQ(cudaFree(pinned_), cudaErrorInvalidValue);
  EXPECT_THAT(standin::TakeReports(), ElementsAre("cudaFree of what is no device's"));
}

TEST_F(MemoryTest, UseAfterFreeIsCaught) {
  Use("lazy");
  void* p = nullptr;
  ASSERT_EQ(cudaMalloc(&p, kBytes), cudaSuccess);
  ASSERT_EQ(cudaFree(p), cudaSuccess);

  EXPECT_EQ(cudaMemcpyAsync(p, pinned_, kBytes, cudaMemcpyHostToDevice, stream_),
            cudaErrorInvalidValue);
  EXPECT_THAT(standin::TakeReports(), ElementsAre(HasSubstr("that was freed")));
  EXPECT_EQ(LaunchAdd(static_cast<float*>(p), out_, kCount, 1, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
}

TEST_F(MemoryTest, MemoryFreedInAStreamLivesUntilItsTurn) {
  Use("lazy");
  void* p = nullptr;
  ASSERT_EQ(cudaMallocAsync(&p, kBytes, stream_), cudaSuccess);
  EXPECT_EQ(LaunchAdd(in_, static_cast<float*>(p), kCount, 1, stream_), cudaSuccess);
  EXPECT_EQ(LaunchAdd(static_cast<float*>(p), out_, kCount, 1, stream_), cudaSuccess);
  EXPECT_EQ(cudaFreeAsync(p, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(First(out_), 3);

  EXPECT_EQ(LaunchAdd(static_cast<float*>(p), out_, kCount, 1, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
}

TEST_F(MemoryTest, KernelThatReadsWhatNobodyWroteIsReported) {
  const auto read = [&](float* from) {
    EXPECT_EQ(LaunchAdd(from, in_, kCount, 1, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    return standin::TakeReports();
  };
  const auto blamed = testing::Contains(HasSubstr("nobody wrote"));
  float *copy = nullptr, *filled = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&copy), kBytes), cudaSuccess);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&filled), kBytes), cudaSuccess);
  ASSERT_EQ(cudaMemset(copy, 0, kBytes), cudaSuccess);
  EXPECT_THAT(read(copy), testing::IsEmpty());

  // A copy brings what is known of its source.
  ASSERT_EQ(cudaMemcpy(copy, out_, kBytes, cudaMemcpyDeviceToDevice), cudaSuccess);
  EXPECT_THAT(read(copy), blamed);
  EXPECT_THAT(read(out_), blamed);
  // One byte of one word is enough.
  ASSERT_EQ(cudaMemset(filled, 0, kBytes - 1), cudaSuccess);
  EXPECT_THAT(read(filled), blamed);
}

TEST_F(MemoryTest, PinnedMemoryIsKnownByItsRange) {
  cudaPointerAttributes attributes;
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, pinned_ + 1), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, in_ + 1), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, &attributes), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
}

TEST_F(MemoryTest, RegisteredMemoryIsPinnedUntilItIsNot) {
  std::vector<float> values(kCount, 2);
  const auto pageable = [] { return standin::Calls("pageable copies"); };
  standin::ResetCalls();
  ASSERT_EQ(cudaHostRegister(values.data(), kBytes, cudaHostRegisterDefault), cudaSuccess);
  EXPECT_EQ(cudaHostRegister(values.data() + 8, 64, cudaHostRegisterDefault),
            cudaErrorHostMemoryAlreadyRegistered);
  EXPECT_EQ(cudaMemcpyAsync(in_, values.data(), kBytes, cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  EXPECT_EQ(pageable(), 0);
  ASSERT_EQ(cudaHostUnregister(values.data()), cudaSuccess);
  EXPECT_EQ(cudaHostUnregister(values.data()), cudaErrorHostMemoryNotRegistered);
  EXPECT_EQ(cudaMemcpyAsync(in_, values.data(), kBytes, cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  EXPECT_EQ(pageable(), 1);
}

TEST_F(MemoryTest, FreeingPinnedMemoryTwiceIsCaught) {
  void* p = nullptr;
  ASSERT_EQ(cudaHostAlloc(&p, 64, cudaHostAllocDefault), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(p), cudaSuccess);

  EXPECT_EQ(cudaFreeHost(p), cudaErrorInvalidValue);
  EXPECT_THAT(standin::TakeReports(), ElementsAre("cudaFreeHost of what was freed"));
}

using HostPointerDeathTest = MemoryTest;

TEST_F(HostPointerDeathTest, FollowingADevicePointerNamesItsAllocation) {
  EXPECT_DEATH(*const_cast<volatile float*>(in_ + 3) = 1,
               "the host followed a pointer of device 0: address 0x[0-9a-f]+, byte 12 of an "
               "allocation of 1024 bytes");
}

TEST_F(HostPointerDeathTest, FollowingFreedMemorySaysSo) {
  ASSERT_EQ(cudaFree(out_), cudaSuccess);
  EXPECT_DEATH(std::printf("%f", *const_cast<volatile float*>(out_)),
               "byte 0 of an allocation of 1024 bytes that was freed");
  void* p = nullptr;
  ASSERT_EQ(cudaHostAlloc(&p, 64, cudaHostAllocDefault), cudaSuccess);
  *static_cast<volatile char*>(p) = 1;
  ASSERT_EQ(cudaFreeHost(p), cudaSuccess);
  EXPECT_DEATH(*static_cast<volatile char*>(p) = 1, "a pointer to pinned memory that was freed");
}

}  // namespace
}  // namespace peerage::standin_test
