#include "bench/kernels/cuda_bench.h"

#include "model/kernels/float16.h"

namespace peerage::kernels::cuda {

CudaBench::CudaBench(const BenchShapes& bench_shapes)
    : shapes(bench_shapes), timer(bench_shapes.repetitions) {
  std::normal_distribution<float> normal;
  floats_.resize(size_t{1} << 20);
  for (float& x : floats_) x = normal(random_);
  for (const float x : floats_) halves_.push_back(BF16FromF32(x));
}

DeviceBuffer CudaBench::Floats(size_t count) const {
  DeviceBuffer buffer(count * sizeof(float));
  buffer.Repeat(floats_.data(), floats_.size() * sizeof(float));
  return buffer;
}

DeviceBuffer CudaBench::Halves(size_t count) const {
  DeviceBuffer buffer(count * sizeof(uint16_t));
  buffer.Repeat(halves_.data(), halves_.size() * sizeof(uint16_t));
  return buffer;
}

std::vector<uint32_t> CudaBench::Ids(size_t count, uint64_t end) {
  std::vector<uint32_t> ids(count);
  for (uint32_t& id : ids) id = static_cast<uint32_t>(random_() % end);
  return ids;
}

double CudaBench::CopyRate() {
  const DeviceBuffer from = Floats(cold_bytes() / sizeof(float)), to(cold_bytes());
  const double microseconds = timer.Microseconds([&](int, cudaStream_t stream) {
    return cudaMemcpyAsync(to.As(), from.As(), from.bytes(), cudaMemcpyDeviceToDevice, stream);
  });
  return 2.0 * from.bytes() / microseconds * 1e6;
}

}  // namespace peerage::kernels::cuda
