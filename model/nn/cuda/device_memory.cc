#include "model/nn/cuda/device_memory.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {

absl::StatusOr<Memory> Memory::Allocate(MemoryKind kind, size_t bytes) {
  if (bytes == 0) return Memory();
  void* data = nullptr;
  const cudaError_t error =
      kind == MemoryKind::kDevice ? cudaMalloc(&data, bytes) : cudaMallocHost(&data, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();  // reported here: nobody shall find it later
    return ToStatus(error,
                    absl::StrCat("cannot allocate ", bytes, " bytes of ",
                                 kind == MemoryKind::kDevice ? "the device" : "pinned", " memory"));
  }
  Memory memory(Pointer(static_cast<uint8_t*>(data), Free{kind}), bytes);
  if (kind == MemoryKind::kDevice) {
    // On another stream than everything else, and waited for.
    RETURN_IF_CUDA_ERROR(cudaMemset(data, 0, bytes));
    RETURN_IF_CUDA_ERROR(cudaDeviceSynchronize());
  } else {
    std::memset(data, 0, bytes);
  }
  return memory;
}

void Memory::Free::operator()(uint8_t* data) const {
  if (kind == MemoryKind::kDevice) {
    cudaFree(data);
  } else {
    cudaFreeHost(data);
  }
}

absl::Status StagedMemory::Reserve(size_t bytes) {
  if (bytes <= host_.size()) return absl::OkStatus();
  const size_t room = std::max(bytes, 2 * host_.size());
  ++moves_;
  host_ = Memory();
  device_ = Memory();
  ASSIGN_OR_RETURN(Memory host, Memory::Allocate(MemoryKind::kPinned, room));
  ASSIGN_OR_RETURN(device_, Memory::Allocate(MemoryKind::kDevice, room));
  host_ = std::move(host);
  return absl::OkStatus();
}

}  // namespace peerage::nn::cuda
