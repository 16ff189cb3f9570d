#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "model/experts/expert_usage.h"
#include "model/kernels/router_control_cuda.h"
#include "model/nn/arena.h"
#include "model/nn/cuda/device_memory.h"
#include "model/nn/step/step_batch.h"

namespace peerage::nn::cuda {

// Brings to the device what a step's tokens ask of routers (model/experts/expert_control.h): of the
// lists of whole requests just what this step needs. Layers of which nothing is asked take nothing.
// No graph knows its addresses, and steps that ask for anything are not replayed.
class ControlTransfer {
 public:
  explicit ControlTransfer(const std::vector<ExpertLayer>& layers);

  // Room for steps of so many tokens that are forced in every layer, and for the lists of a few
  // requests: ReservedBytes of the device, and as much of the host's memory, pinned. It grows when
  // a step needs more.
  absl::Status Reserve(int tokens);
  size_t ReservedBytes(int tokens) const;

  // Enqueues what the batch asks. Nothing of an earlier step may be on its way.
  absl::Status Describe(const StepBatch& batch, cudaStream_t stream);

  // What is asked in a layer, on the device.
  kernels::cuda::RouterControls OfLayer(int expert_layer) const;

 private:
  // What all layers share, one behind the other.
  struct Lists {
    std::vector<int32_t> of_token;  // [layers of which something is asked][tokens]
    std::vector<kernels::cuda::RouterControl> entries;
    std::vector<uint32_t> masked;
    std::vector<ExpertBias> biases;
    std::vector<uint32_t> forced_ids;
    std::vector<float> forced_weights;

    void Clear();
  };
  // Where they lie: the same bytes on the host and on the device.
  struct Arrays {
    int32_t* of_token = nullptr;
    kernels::cuda::RouterControl* entries = nullptr;
    uint32_t* masked = nullptr;
    ExpertBias* biases = nullptr;
    uint32_t* forced_ids = nullptr;
    float* forced_weights = nullptr;
  };
  struct Layer {
    uint32_t top_k = 0;
    uint32_t picks_per_token = 0;
    size_t first_of_token = 0;  // in Lists::of_token
    int first = 0, end = 0;     // RouterControls
  };
  // What a chunk asks of all its tokens but those that are forced: an index of entries, -1:
  // nothing.
  struct Asked {
    const LayerControl* control = nullptr;
    int entry = -1;
  };

  void AskLayer(const StepBatch& batch, int expert_layer);
  void AskChunk(const StepBatch& batch, int chunk, int expert_layer);
  int EntryOf(const LayerControl& control, const Layer& layer);
  int ForcedEntryOf(const TokenControl& control);
  static void Lay(const Lists& lists, Arena& arena, Arrays& arrays);

  std::vector<Layer> layers_;  // by expert layer
  Lists lists_;
  std::vector<Asked> asked_;  // of the layer at hand, by different control
  StagedMemory memory_;
  Arrays device_;
};

}  // namespace peerage::nn::cuda
