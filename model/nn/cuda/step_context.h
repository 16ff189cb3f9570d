#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/kernels/attention_cuda.h"
#include "model/kernels/router_control_cuda.h"
#include "model/nn/cuda/cuda_status.h"
#include "model/nn/cuda/expert_counters.h"
#include "model/nn/cuda/matmul.h"
#include "model/nn/cuda/residual_stream.h"
#include "model/nn/cuda/step_arrays.h"
#include "model/nn/cuda/workspace.h"

namespace peerage::nn::cuda {

// The rows that a step feeds into layers, as activations.
struct Activations {
  const void* x = nullptr;  // [tokens][stride]
  DeviceFloat type = DeviceFloat::kBF16;
  size_t stride = 0;
};

// What the layers of one step share. Layers enqueue their launches on one stream, one after the
// other, and use the same buffers. After an error nothing more is enqueued.
struct StepContext {
  cudaStream_t stream = nullptr;
  const Workspace& workspace;
  const StepShape& shape;
  const StepArrays& arrays;     // on the device
  const ResultArrays& results;  // likewise
  ResidualStream residual;
  ExpertCounters& counters;
  // By expert layer; empty: nothing is asked of routers.
  absl::Span<const kernels::cuda::RouterControls> controls;
  Matmul* matmul = nullptr;  // null: own kernels for any number of rows
  DeviceFloat activations = DeviceFloat::kBF16;
  absl::Status status = absl::OkStatus();

  int tokens() const { return shape.tokens; }
  Activations Rows(const void* x, int width) const {
    return {.x = x, .type = activations, .stride = static_cast<size_t>(width)};
  }

  // Memory for the next launch to write to.
  uint8_t* Scratch() { return Claim(workspace.scratch); }
  float* HeadSums() { return Claim(workspace.head_sums); }
  float* MixtureOutputs() { return Claim(workspace.mixture.outputs); }

  // What is asked of the router of an expert layer.
  kernels::cuda::RouterControls ControlsOf(int expert_layer) const {
    return controls.empty() ? kernels::cuda::RouterControls() : controls[expert_layer];
  }

  // Enqueues launcher(args, stream).
  template <typename Args>
  void Launch(cudaError_t (*launcher)(const Args&, cudaStream_t),
              const std::type_identity_t<Args>& args) {
    Launch([&] { return launcher(args, stream); });
  }
  // Calls launch(), which enqueues.
  template <typename Enqueue>
  void Launch(const Enqueue& launch) {
    if (status.ok()) status = ToStatus(launch(), "launching a kernel");
  }
  // Counts what an expert layer picked.
  void Count(int expert_layer, size_t record_bytes) {
    if (!counters.is_counting() || !status.ok()) return;
    status =
        ToStatus(counters.Count(expert_layer, arrays.positions, tokens(), record_bytes, stream),
                 "counting experts");
  }
  // Calls enqueue(), which returns a status.
  template <typename Enqueue>
  void Then(const Enqueue& enqueue) {
    if (status.ok()) status = enqueue();
  }

 private:
  template <typename Element>
  Element* Claim(Element* buffer) {
    residual.MakeWay(*this, buffer);
    return buffer;
  }
};

// What the launches of a model's layers need beside the buffers that all models have: the most of
// each, for steps of `tokens`.
struct LayerNeeds {
  int tokens = 0;
  int positions = 0;  // of a context
  size_t scratch_bytes = 0;
  int most_ffns = 0;

  void RaiseScratch(size_t bytes) { scratch_bytes = std::max(scratch_bytes, bytes); }
};

}  // namespace peerage::nn::cuda
