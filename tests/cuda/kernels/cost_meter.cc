#include "tests/cuda/kernels/cost_meter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "tests/cuda/support/standin_control.h"

namespace peerage::kernels::cuda {
namespace {

std::map<std::string, uint64_t> ReadRegisters() {
  std::ifstream table("tests/cuda/kernel_limits.txt");
  std::map<std::string, uint64_t> registers;
  while (table.peek() == '#') table.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  uint64_t of_thread = 0, blocks = 0;
  std::string kernel;
  while (table >> of_thread >> blocks >> kernel) registers[kernel] = of_thread;
  return registers;
}

constexpr uint64_t RoundUp(uint64_t x, uint64_t unit) { return (x + unit - 1) / unit * unit; }

// Of a multiprocessor of compute capability 9.0 (CUDA C++ Programming Guide, "Technical
// Specifications"), the memory that blocks share with dynamic sizes included.
uint64_t BlocksThatFit(const standin::KernelCounters& launch, uint64_t registers) {
  constexpr uint64_t kRegisters = 65536, kWarps = 64, kBlocks = 32, kShared = 233472;
  constexpr uint64_t kSharedOfSystem = 1024;
  const uint64_t warps = RoundUp(launch.block_threads, 32) / 32;
  const uint64_t registers_of_warp = RoundUp(registers * 32, 256);
  return std::min({kBlocks, kWarps / warps, kRegisters / (registers_of_warp * warps),
                   kShared / (launch.block_shared_bytes + kSharedOfSystem)});
}

}  // namespace

CostMeter::CostMeter(cudaStream_t stream) : stream_(stream), registers_(ReadRegisters()) {
  std::normal_distribution<float> normal;
  for (float& x : floats_) x = normal(random_);
}

DeviceFloats CostMeter::Random(DeviceFloat type, size_t count) const {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = floats_[i % floats_.size()];
  return {type, values};
}

std::vector<uint32_t> CostMeter::RandomIds(size_t count, uint32_t end) {
  std::vector<uint32_t> ids(count);
  for (uint32_t& id : ids) id = random_() % end;
  return ids;
}

void CostMeter::Measure(const std::string& shape, const std::vector<std::string>& kernels,
                        const std::function<cudaError_t(cudaStream_t)>& launch) {
  standin::ResetCounters();
  ASSERT_EQ(launch(stream_), cudaSuccess) << shape;
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess) << shape;
  for (const std::string& kernel : kernels) {
    const standin::KernelCounters counters = standin::Counters(kernel);
    ASSERT_GT(counters.launches, 0u) << shape << " does not launch " << kernel;
    ASSERT_TRUE(registers_.contains(kernel)) << kernel << " has no line in kernel_limits.txt";
    costs_[{shape, kernel}] = {counters.instructions, counters.load_sectors,
                               counters.bank_conflicts,
                               BlocksThatFit(counters, registers_.at(kernel))};
  }
}

}  // namespace peerage::kernels::cuda
