// The runtime's errors.
#include <cuda_runtime_api.h>

#include "call.h"
#include "errors.h"

extern "C" {

// The last error of this thread; that of a lost device stays.
cudaError_t cudaGetLastError() {
  const std::lock_guard lock(standin::runtime().mutex);
  return standin::TakeLastError(/*clear=*/true);
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(standin::runtime().mutex);
  return standin::TakeLastError(/*clear=*/false);
}

const char* cudaGetErrorName(cudaError_t error) { return standin::ErrorName(error); }
const char* cudaGetErrorString(cudaError_t error) { return standin::ErrorString(error); }

}  // extern "C"
