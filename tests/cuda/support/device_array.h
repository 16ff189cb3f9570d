#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda/support/standin_control.h"

namespace peerage {

// Elements in device memory, for tests: made of a vector, read back as one. `extra` elements lie
// behind them and must stay as they were.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : size_(values.size()) {
    Check(cudaMalloc(&data_, Bytes() == 0 ? 1 : Bytes()), "cudaMalloc");
    if (size_ != 0)
      Check(cudaMemcpy(data_, values.data(), Bytes(), cudaMemcpyHostToDevice), "copy");
  }
  explicit DeviceArray(size_t size, T value = {}) : DeviceArray(std::vector<T>(size, value)) {}
  DeviceArray(DeviceArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  ~DeviceArray() {
    if (data_ != nullptr) cudaFree(data_);
  }

  T* data() const { return static_cast<T*>(data_); }
  size_t size() const { return size_; }

  // Waits for the device.
  std::vector<T> Read() const {
    std::vector<T> values(size_);
    Check(cudaDeviceSynchronize(), "wait");
    if (size_ != 0)
      Check(cudaMemcpy(values.data(), data_, Bytes(), cudaMemcpyDeviceToHost), "copy");
    return values;
  }

 private:
  static void Check(cudaError_t error, const char* what) {
    ASSERT_EQ(error, cudaSuccess) << what << ": " << cudaGetErrorString(error);
  }
  size_t Bytes() const { return size_ * sizeof(T); }

  void* data_ = nullptr;
  size_t size_ = 0;
};

// A test of kernels: a stream, and no race or other fault that the stand-in has seen.
class CudaTest : public testing::Test {
 protected:
  CudaTest() {
    standin::TakeReports();
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
  }
  ~CudaTest() override { cudaStreamDestroy(stream_); }

  void TearDown() override {
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    for (const std::string& report : standin::TakeReports()) ADD_FAILURE() << report;
  }

  cudaStream_t stream_ = nullptr;
};

}  // namespace peerage
