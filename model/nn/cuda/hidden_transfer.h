#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "model/nn/cuda/device_memory.h"
#include "model/nn/cuda/step_context.h"
#include "model/nn/step/hidden_rows.h"

namespace peerage::nn::cuda {

// Brings a step's hidden states to the host. The memory grows when a step asks for more than all
// before it; no graph knows its addresses, and steps that ask for any are not replayed.
class HiddenTransfer {
 public:
  // Enqueues which rows are wanted. Nothing of an earlier step may be on its way.
  absl::Status Describe(const HiddenRows& hidden, cudaStream_t stream);
  // Enqueues the way back.
  absl::Status Fetch(const HiddenRows& hidden, cudaStream_t stream);
  // Hands out what was fetched.
  void Report(HiddenRows& hidden) const;

  // Rows of one layer on the device.
  struct Rows {
    const int32_t* tokens = nullptr;  // [count], of the batch
    float* values = nullptr;          // [count][width]
    int count = 0;
  };
  Rows RowsOf(const HiddenRows& hidden, int layer) const;

 private:
  StagedMemory tokens_, values_;
};

// Keeps rows of the residual stream as they are.
void CopyResidual(StepContext& step, const HiddenTransfer::Rows& rows, int width);

}  // namespace peerage::nn::cuda
