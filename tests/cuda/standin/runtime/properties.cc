// What the stand-in says that its devices are: an H100 with as much memory as was asked for.
#include <cstring>
#include <map>

#include "device.h"
#include "runtime.h"

namespace standin {
namespace {

constexpr int kL2Bytes = 50 << 20;

const std::map<int, int>& Numbers() {
  static const std::map<int, int> numbers = {
      {cudaDevAttrMaxThreadsPerBlock, kThreadsPerBlock},
      {cudaDevAttrMaxBlockDimX, 1024},
      {cudaDevAttrMaxBlockDimY, 1024},
      {cudaDevAttrMaxBlockDimZ, 64},
      {cudaDevAttrMaxGridDimX, INT32_MAX},
      {cudaDevAttrMaxGridDimY, 65535},
      {cudaDevAttrMaxGridDimZ, 65535},
      {cudaDevAttrWarpSize, 32},
      {cudaDevAttrMultiProcessorCount, kMultiprocessors},
      {cudaDevAttrMaxThreadsPerMultiProcessor, kThreadsPerMultiprocessor},
      {cudaDevAttrMaxBlocksPerMultiprocessor, kBlocksPerMultiprocessor},
      {cudaDevAttrMaxRegistersPerBlock, kRegisters},
      {cudaDevAttrMaxRegistersPerMultiprocessor, kRegisters},
      {cudaDevAttrMaxSharedMemoryPerBlock, kSharedPerBlock},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, kSharedPerBlockOptin},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, kSharedPerMultiprocessor},
      {cudaDevAttrReservedSharedMemoryPerBlock, kSharedReserved},
      {cudaDevAttrTotalConstantMemory, 64 << 10},
      {cudaDevAttrL2CacheSize, kL2Bytes},
      {cudaDevAttrMaxPersistingL2CacheSize, 0},
      {cudaDevAttrGlobalMemoryBusWidth, 5120},
      {cudaDevAttrMemoryClockRate, 2619000},
      {cudaDevAttrClockRate, 1980000},
      {cudaDevAttrEccEnabled, 1},
      {cudaDevAttrAsyncEngineCount, 3},
      {cudaDevAttrConcurrentKernels, 1},
      {cudaDevAttrUnifiedAddressing, 1},
      {cudaDevAttrCanMapHostMemory,
       0},  // kernels of the stand-in cannot follow the host's pointers
      {cudaDevAttrManagedMemory, 0},
      {cudaDevAttrPageableMemoryAccess, 0},
      {cudaDevAttrConcurrentManagedAccess, 0},
      {cudaDevAttrCooperativeLaunch, 0},
      {cudaDevAttrMemoryPoolsSupported, 1},
      {cudaDevAttrStreamPrioritiesSupported, 1},
      {cudaDevAttrHostRegisterSupported, 1},
      {cudaDevAttrComputeMode, cudaComputeModeDefault},
      {cudaDevAttrIntegrated, 0},
      {cudaDevAttrPciDeviceId, 0},
      {cudaDevAttrPciDomainId, 0},
  };
  return numbers;
}

int NumberOf(cudaDeviceAttr attribute) { return Numbers().at(attribute); }

}  // namespace

bool Attribute(const Device& device, cudaDeviceAttr attribute, int* value) {
  const int target = runtime().settings.target;
  if (attribute == cudaDevAttrComputeCapabilityMajor) {
    *value = target / 10;
  } else if (attribute == cudaDevAttrComputeCapabilityMinor) {
    *value = target % 10;
  } else if (attribute == cudaDevAttrPciBusId) {
    *value = device.number + 1;
  } else {
    const auto found = Numbers().find(attribute);
    if (found == Numbers().end()) return false;
    *value = found->second;
  }
  return true;
}

cudaDeviceProp Properties(const Device& device) {
  cudaDeviceProp p = {};
  std::strcpy(p.name, "stand-in for an H100");
  std::memset(p.uuid.bytes, device.number + 1, sizeof p.uuid.bytes);
  p.totalGlobalMem = device.memory.total();
  p.major = runtime().settings.target / 10;
  p.minor = runtime().settings.target % 10;
  p.multiProcessorCount = kMultiprocessors;
  p.warpSize = 32;
  p.maxThreadsPerBlock = kThreadsPerBlock;
  p.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  p.maxBlocksPerMultiProcessor = kBlocksPerMultiprocessor;
  const int block_dim[] = {1024, 1024, 64}, grid_dim[] = {INT32_MAX, 65535, 65535};
  std::memcpy(p.maxThreadsDim, block_dim, sizeof block_dim);
  std::memcpy(p.maxGridSize, grid_dim, sizeof grid_dim);
  p.regsPerBlock = p.regsPerMultiprocessor = kRegisters;
  p.sharedMemPerBlock = kSharedPerBlock;
  p.sharedMemPerBlockOptin = kSharedPerBlockOptin;
  p.sharedMemPerMultiprocessor = kSharedPerMultiprocessor;
  p.reservedSharedMemPerBlock = kSharedReserved;
  p.totalConstMem = 64 << 10;
  p.l2CacheSize = kL2Bytes;
  p.memoryBusWidth = NumberOf(cudaDevAttrGlobalMemoryBusWidth);
  p.asyncEngineCount = NumberOf(cudaDevAttrAsyncEngineCount);
  p.ECCEnabled = p.concurrentKernels = p.unifiedAddressing = p.memoryPoolsSupported = 1;
  p.streamPrioritiesSupported = p.hostRegisterSupported = 1;
  p.pciBusID = device.number + 1;
  return p;
}

}  // namespace standin
