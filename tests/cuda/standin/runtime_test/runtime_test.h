#pragma once

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "tests/cuda/standin/runtime_test/kernels.h"
#include "tests/cuda/support/device_array.h"
#include "tests/cuda/support/standin_control.h"

namespace peerage::standin_test {

// A test of what the stand-in's runtime does; each begins with a device as new, and says which
// reports it expects by taking them.
class RuntimeTest : public testing::Test {
 protected:
  RuntimeTest() {
    Use("eager");
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaStreamCreateWithFlags(&other_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaMallocHost(reinterpret_cast<void**>(&pinned_), kCount * sizeof(float)),
              cudaSuccess);
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&in_), kCount * sizeof(float)), cudaSuccess);
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&out_), kCount * sizeof(float)), cudaSuccess);
    Upload(in_, 1);
  }

  ~RuntimeTest() override {
    cudaDeviceReset();  // a test may have lost the device
    cudaStreamDestroy(stream_);
    cudaStreamDestroy(other_);
    cudaFreeHost(pinned_);
    cudaGetLastError();
    EXPECT_THAT(standin::TakeReports(), testing::IsEmpty());
  }

  static void Use(const std::string& schedule, int seed = 0) {
    ASSERT_TRUE(standin::Set("schedule=" + schedule + ",seed=" + std::to_string(seed)));
  }

  // All values of an array; waits.
  static void Upload(float* to, float value) {
    const std::vector<float> values(kCount, value);
    ASSERT_EQ(cudaMemcpy(to, values.data(), kCount * sizeof(float), cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  static float First(const float* from) {
    float value = -1;
    EXPECT_EQ(cudaMemcpy(&value, from, sizeof value, cudaMemcpyDeviceToHost), cudaSuccess);
    return value;
  }

  static constexpr int kCount = 256;
  static constexpr size_t kBytes = kCount * sizeof(float);
  cudaStream_t stream_ = nullptr, other_ = nullptr;
  float *in_ = nullptr, *out_ = nullptr;  // of the device: ones, and what nobody wrote
  float* pinned_ = nullptr;
};

}  // namespace peerage::standin_test
