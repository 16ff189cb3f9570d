#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "stream.h"

namespace standin {

// Rows that are copied; one, when it is not a matrix.
struct Transfer {
  void* to = nullptr;
  const void* from = nullptr;
  size_t width = 0, height = 1, to_pitch = 0, from_pitch = 0;
  cudaMemcpyKind kind = cudaMemcpyDefault;
};
// `wait`: until it is done, as of the calls that are not asynchronous. Copies of pageable memory
// wait in any case.
cudaError_t Copy(const Transfer& transfer, const std::shared_ptr<Stream>& stream, bool wait);

struct Fill {
  void* to = nullptr;
  int value = 0;
  size_t width = 0, height = 1, pitch = 0;
};
cudaError_t Set(const Fill& fill, const std::shared_ptr<Stream>& stream);

}  // namespace standin
