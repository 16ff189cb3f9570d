#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <utility>
#include <vector>

// What benchmarks of CUDA kernels share: buffers, and time by events. An error ends the program.
namespace peerage::kernels::cuda {

inline void CheckCuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(size_t bytes) : bytes_(bytes) {
    CheckCuda(cudaMalloc(&data_, bytes), "cudaMalloc");
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBuffer() { cudaFree(data_); }

  // Fills it with copies of a block: large tables are not made on the host.
  void Repeat(const void* block, size_t block_bytes) {
    const size_t first = std::min(block_bytes, bytes_);
    CheckCuda(cudaMemcpy(data_, block, first, cudaMemcpyHostToDevice), "filling");
    for (size_t done = first; done < bytes_;) {
      const size_t more = std::min(done, bytes_ - done);
      CheckCuda(cudaMemcpy(As<uint8_t>() + done, data_, more, cudaMemcpyDeviceToDevice), "filling");
      done += more;
    }
  }
  template <typename T>
  static DeviceBuffer Of(const std::vector<T>& values) {
    DeviceBuffer buffer(values.size() * sizeof(T));
    buffer.Repeat(values.data(), buffer.bytes());
    return buffer;
  }

  template <typename T = void>
  T* As() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Times what is enqueued on a stream of its own.
class CudaTimer {
 public:
  explicit CudaTimer(int repetitions) : repetitions_(repetitions) {
    CheckCuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    CheckCuda(cudaEventCreate(&begin_), "event");
    CheckCuda(cudaEventCreate(&end_), "event");
  }
  ~CudaTimer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  CudaTimer(const CudaTimer&) = delete;
  CudaTimer& operator=(const CudaTimer&) = delete;

  // Calls of one measurement: as many that warm up, then those that are timed.
  int calls() const { return 2 * repetitions_; }

  // Microseconds of one call of `enqueue`, which gets the call's number, so that it can take other
  // data than the calls before it and find none of them in a cache; on average over back-to-back
  // calls.
  double Microseconds(const std::function<cudaError_t(int call, cudaStream_t)>& enqueue) {
    for (int i = 0; i < repetitions_; ++i) CheckCuda(enqueue(i, stream_), "launch");
    CheckCuda(cudaEventRecord(begin_, stream_), "event");
    for (int i = repetitions_; i < calls(); ++i) CheckCuda(enqueue(i, stream_), "launch");
    CheckCuda(cudaEventRecord(end_, stream_), "event");
    CheckCuda(cudaEventSynchronize(end_), "running kernels");
    float milliseconds = 0;
    CheckCuda(cudaEventElapsedTime(&milliseconds, begin_, end_), "time");
    return 1e3 * milliseconds / repetitions_;
  }

 private:
  const int repetitions_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace peerage::kernels::cuda
