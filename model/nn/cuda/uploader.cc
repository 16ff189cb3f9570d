#include "model/nn/cuda/uploader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {

absl::StatusOr<Uploader> Uploader::Make(cudaStream_t stream) {
  Uploader uploader(stream);
  for (int i = 0; i < 2; ++i) {
    ASSIGN_OR_RETURN(uploader.buffers_[i], Memory::Allocate(MemoryKind::kPinned, kBufferBytes));
    RETURN_IF_CUDA_ERROR(cudaEventCreateWithFlags(&uploader.sent_[i], cudaEventDisableTiming));
  }
  return uploader;
}

Uploader::Uploader(Uploader&& other) noexcept : stream_(other.stream_), next_(other.next_) {
  for (int i = 0; i < 2; ++i) {
    buffers_[i] = std::move(other.buffers_[i]);
    sent_[i] = std::exchange(other.sent_[i], nullptr);
  }
}

// A load that fails leaves copies on their way: their buffers are theirs until they are made.
Uploader::~Uploader() {
  for (cudaEvent_t event : sent_) {
    if (event == nullptr) continue;
    cudaEventSynchronize(event);
    cudaEventDestroy(event);
  }
}

absl::StatusOr<uint8_t*> Uploader::Buffer() {
  RETURN_IF_CUDA_ERROR(cudaEventSynchronize(sent_[next_]));
  return buffers_[next_].data();
}

absl::Status Uploader::Send(size_t bytes, void* target) {
  RETURN_IF_CUDA_ERROR(
      cudaMemcpyAsync(target, buffers_[next_].data(), bytes, cudaMemcpyHostToDevice, stream_));
  RETURN_IF_CUDA_ERROR(cudaEventRecord(sent_[next_], stream_));
  next_ = 1 - next_;
  return absl::OkStatus();
}

absl::Status Uploader::Upload(const void* source, size_t bytes, void* target) {
  const auto* from = static_cast<const uint8_t*>(source);
  auto* to = static_cast<uint8_t*>(target);
  while (bytes > 0) {
    const size_t piece = std::min(bytes, kBufferBytes);
    ASSIGN_OR_RETURN(uint8_t * buffer, Buffer());
    std::memcpy(buffer, from, piece);
    RETURN_IF_ERROR(Send(piece, to));
    from += piece;
    to += piece;
    bytes -= piece;
  }
  return absl::OkStatus();
}

absl::Status Uploader::Finish() {
  return ToStatus(cudaStreamSynchronize(stream_), "uploading weights");
}

}  // namespace peerage::nn::cuda
