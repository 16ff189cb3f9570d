#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "model/nn/cuda/device_memory.h"
#include "model/nn/cuda/step_context.h"
#include "model/nn/step/hidden_rows.h"

namespace peerage::nn::cuda {

// Brings a step's hidden states to the host, layer by layer through room for one layer's rows. The
// host's memory grows when a step asks for more than all before it; no graph knows the addresses,
// and steps that ask for any are not replayed.
class HiddenTransfer {
 public:
  // Room for every row of so many tokens, behind so many layers: ReservedBytes of the device.
  absl::Status Reserve(int tokens, int layers, int width);
  static size_t ReservedBytes(int tokens, int layers, int width);

  // Enqueues which rows are wanted. Nothing of an earlier step may be on its way.
  absl::Status Describe(const HiddenRows& hidden, cudaStream_t stream);
  // Hands out what was fetched.
  void Report(HiddenRows& hidden) const;

  // Rows of one layer on the device, until the next layer's.
  struct Rows {
    const int32_t* tokens = nullptr;  // [count], of the batch
    float* values = nullptr;          // [count][width]
    int count = 0;
  };
  Rows RowsOf(const HiddenRows& hidden, int layer) const;
  // Enqueues their way to the host.
  absl::Status Fetch(const HiddenRows& hidden, int layer, cudaStream_t stream);

 private:
  int layers_ = 0;
  StagedMemory tokens_;
  Memory rows_;    // of the device
  Memory values_;  // pinned: of all layers
};

// Keeps rows of the residual stream as they are.
void CopyResidual(StepContext& step, const HiddenTransfer::Rows& rows, int width);

}  // namespace peerage::nn::cuda
