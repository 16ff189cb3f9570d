#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "bench/kernels/cuda_timing.h"

// What measurements of CUDA kernels share: shapes, random numbers in device memory, the clock.
namespace peerage::kernels::cuda {

struct BenchShapes {
  int width = 2048;
  int log2_experts = 20;
  int heads = 8;  // of retrieval
  int top_k = 16;
  int key_dim = 256;
  int attention_heads = 16;
  int kv_heads = 4;
  int head_dim = 128;
  int context = 2048;
  int vocabulary = 49152;
  int mixture = 8;  // experts, of which a token chooses two
  std::vector<int> rows = {1, 16, 64, 256};
  int repetitions = 20;
  int cold_mib = 512;  // what calls take turns in; several times a cache

  int intermediate() const { return (width * 8 / 3 + 63) / 64 * 64; }  // of a gated FFN
};

struct Measurement {
  std::string kernel;
  int rows = 0;
  double microseconds = 0;
  double bytes = 0;  // at least
  double flops = 0;  // 0: bytes decide
};
using Measurements = std::vector<Measurement>;

class CudaBench {
 public:
  explicit CudaBench(const BenchShapes& shapes);

  DeviceBuffer Floats(size_t count) const;  // f32, about normal
  DeviceBuffer Halves(size_t count) const;  // the same as bf16
  // Numbers below `end`.
  std::vector<uint32_t> Ids(size_t count, uint64_t end);
  uint64_t Random() { return random_(); }
  size_t cold_bytes() const { return size_t(shapes.cold_mib) << 20; }

  // Bytes read and written a second by copies within the device.
  double CopyRate();

  const BenchShapes shapes;
  CudaTimer timer;

 private:
  std::mt19937_64 random_{1};
  std::vector<float> floats_;
  std::vector<uint16_t> halves_;
};

inline DeviceBuffer Zeros(size_t bytes) {
  DeviceBuffer buffer(bytes);
  CheckCuda(cudaMemset(buffer.As(), 0, bytes), "zeros");
  return buffer;
}

// Memory that a launcher may ask none of.
inline DeviceBuffer Scratch(size_t bytes) { return DeviceBuffer(bytes == 0 ? 1 : bytes); }

// Each family of kernels adds what it measured for so many rows.
void MeasureRetrieval(CudaBench& bench, int rows, Measurements& all);
void MeasureAttention(CudaBench& bench, int rows, Measurements& all);
void MeasurePrefill(CudaBench& bench, Measurements& all);
void MeasureLayers(CudaBench& bench, int rows, Measurements& all);
void MeasureHead(CudaBench& bench, int rows, Measurements& all);

}  // namespace peerage::kernels::cuda
