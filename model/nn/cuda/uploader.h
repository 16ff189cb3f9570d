#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/nn/cuda/device_memory.h"

namespace peerage::nn::cuda {

// Brings bytes to the device through two pinned buffers in turn, so that one is filled while the
// other is copied.
class Uploader {
 public:
  static constexpr size_t kBufferBytes = size_t{4} << 20;

  // Copies are on `stream`, which must outlive it.
  static absl::StatusOr<Uploader> Make(cudaStream_t stream);
  Uploader(Uploader&& other) noexcept;
  ~Uploader();

  // A buffer of kBufferBytes to be filled, free again.
  absl::StatusOr<uint8_t*> Buffer();
  // Enqueues the copy of its first bytes to `target` on the device.
  absl::Status Send(size_t bytes, void* target);

  // Buffer and Send for bytes that lie somewhere, of any number.
  absl::Status Upload(const void* source, size_t bytes, void* target);

  // Waits for all of it.
  absl::Status Finish();

 private:
  explicit Uploader(cudaStream_t stream) : stream_(stream) {}

  cudaStream_t stream_;
  Memory buffers_[2];
  cudaEvent_t sent_[2] = {};
  int next_ = 0;
};

}  // namespace peerage::nn::cuda
