#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "model/kernels/router_control_cuda.h"
#include "model/nn/cuda/device_memory.h"
#include "model/nn/step/step_batch.h"

namespace peerage::nn::cuda {

// Brings to the device what a step's tokens ask of routers (model/experts/expert_control.h): of the
// lists of whole requests just what this step needs. The memory grows when a step needs more than
// all before it; until then addresses stay what they are.
class ControlTransfer {
 public:
  explicit ControlTransfer(const std::vector<ExpertLayer>& layers);

  // Whether there is anything to ask.
  bool has_layers() const { return !layers_.empty(); }

  // Room for steps of so many tokens that are forced in every layer, and for the lists of a few
  // requests: ReservedBytes of the device, and as much of the host's memory, pinned.
  absl::Status Reserve(int tokens);
  size_t ReservedBytes(int tokens) const;

  // Enqueues what the batch asks, padded to so many tokens. Nothing of an earlier step may be on
  // its way.
  absl::Status Describe(int tokens, const StepBatch& batch, cudaStream_t stream);
  // Enqueues that nothing is asked of so many tokens.
  absl::Status Clear(int tokens, cudaStream_t stream);

  // By expert layer, what the step asks that was described; empty where it asks nothing.
  absl::Span<const kernels::cuda::RouterControls> of_step() const { return of_step_; }
  // What any step of so many tokens asks, of whichever of them.
  std::vector<kernels::cuda::RouterControls> OfAnyStep(int tokens) const;

  // How often addresses on the device have changed.
  int moves() const { return memory_.moves(); }

 private:
  struct Layer {
    uint32_t top_k = 0;
    uint32_t picks_per_token = 0;
    int first = 0, end = 0;  // of the step: RouterControls
  };
  // What a chunk asks of all its tokens but those that are forced: where its entry begins, -1:
  // nothing.
  struct Asked {
    const LayerControl* control = nullptr;
    int entry = -1;
  };

  void AskLayer(const StepBatch& batch, int expert_layer);
  void AskChunk(const StepBatch& batch, int chunk, int expert_layer);
  int EntryOf(const LayerControl& control, const Layer& layer);
  int ForcedEntryOf(const TokenControl& control);
  template <typename T>
  int Append(absl::Span<const T> list);

  std::vector<Layer> layers_;  // by expert layer
  // What goes to the device: for each layer an entry of each token, then entries and their lists.
  std::vector<uint32_t> words_;
  std::vector<int32_t> of_token_;  // of the layer at hand
  std::vector<Asked> asked_;       // likewise, by different control
  std::vector<kernels::cuda::RouterControls> of_step_;
  StagedMemory memory_;
};

}  // namespace peerage::nn::cuda
