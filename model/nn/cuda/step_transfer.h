#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/nn/cuda/device_memory.h"
#include "model/nn/cuda/output_head.h"
#include "model/nn/cuda/step_arrays.h"

namespace peerage::nn::cuda {

// Brings a step's description to the device and its results back. The memory grows when a step is
// larger than all before it; until then addresses stay what they are.
class StepTransfer {
 public:
  // Room for steps of these shapes, and for some lists: ReservedBytes of the device, and as much of
  // the host's memory, pinned.
  absl::Status Reserve(absl::Span<const StepShape> shapes);
  static size_t ReservedBytes(absl::Span<const StepShape> shapes);

  // Enqueues the description of a step, padded to `shape`. Nothing of an earlier step may be on its
  // way.
  absl::Status Describe(const StepShape& shape, const StepBatch& batch, absl::Span<Slot> slots,
                        OutputRows& rows, cudaStream_t stream);
  // Enqueues the way back.
  absl::Status Fetch(const StepShape& shape, cudaStream_t stream);
  // Hands out what was fetched.
  void Report(const StepShape& shape, absl::Span<Slot> slots, OutputRows& rows) const;

  // How often addresses on the device have changed.
  int moves() const;

  // Where everything lies on the device.
  StepArrays arrays(const StepShape& shape) const;
  ResultArrays results(const StepShape& shape) const;
  SamplingArrays lists() const;

 private:
  absl::Status ReserveFor(absl::Span<const StepShape> shapes);
  template <typename T>
  absl::Status Send(const std::vector<T>& list, StagedMemory& memory, cudaStream_t stream);

  StagedMemory step_, results_, biases_, seen_, masked_;
  StepArrays::Lists wanted_;
};

}  // namespace peerage::nn::cuda
