#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda/kernels/device_floats.h"

// What instruction_budget_test measures, and of what.
namespace peerage::kernels::cuda {

struct Cost {
  uint64_t instructions = 0, sectors = 0, conflicts = 0;
  uint64_t blocks = 0;  // that share a multiprocessor
};
using Costs = std::map<std::pair<std::string, std::string>, Cost>;  // by shape and kernel

// Launches kernels on the stand-in, with random numbers that are the same for every shape.
class CostMeter {
 public:
  explicit CostMeter(cudaStream_t stream);

  DeviceFloats Random(DeviceFloat type, size_t count) const;
  DeviceFloats Zeros(size_t count) const { return {DeviceFloat::kF32, count, 0.0f}; }
  std::vector<uint32_t> RandomIds(size_t count, uint32_t end);

  // What `launch` costs in each of the kernels.
  void Measure(const std::string& shape, const std::vector<std::string>& kernels,
               const std::function<cudaError_t(cudaStream_t)>& launch);
  const Costs& costs() const { return costs_; }

 private:
  const cudaStream_t stream_;
  std::mt19937 random_{1};
  std::vector<float> floats_ = std::vector<float>(65'521);  // prime: rows differ
  // Registers of a thread by kernel, of the table that tools/check_ptxas.sh holds to the compiler.
  const std::map<std::string, uint64_t> registers_;
  Costs costs_;
};

inline float* F32(const DeviceFloats& floats) { return reinterpret_cast<float*>(floats.data()); }

// Families of kernels at shapes of real models.
void MeasureRetrieval(CostMeter& meter);
void MeasureExperts(CostMeter& meter);
void MeasureMixture(CostMeter& meter);
void MeasureAttention(CostMeter& meter);
void MeasureLayers(CostMeter& meter);
void MeasureHead(CostMeter& meter);

}  // namespace peerage::kernels::cuda
