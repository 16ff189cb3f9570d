#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "model/nn/cuda/step_arrays.h"

namespace peerage::nn::cuda {

// The launches of steps that decode, captured once for each bucket of sequences and of context and
// replayed as one launch. A step that is smaller than its bucket is padded.
class StepGraphs {
 public:
  // Buckets for so many sequences and blocks of a sequence.
  StepGraphs(int max_sequences, int max_blocks, int vocab_size);
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // The shapes that will be captured, small ones first.
  const std::vector<StepShape>& shapes() const { return shapes_; }

  // Captures what enqueue(shape) enqueues on the stream, for every shape; anew after the first
  // time.
  absl::Status Capture(cudaStream_t stream,
                       absl::FunctionRef<absl::Status(const StepShape&)> enqueue);

  // Index of the smallest graph that holds the step, which must be one token of each of its
  // sequences; -1: none does.
  int Find(const StepBatch& batch, const StepShape& exact) const;
  absl::Status Launch(int index, cudaStream_t stream) const;

 private:
  void Destroy();

  std::vector<StepShape> shapes_;
  std::vector<cudaGraphExec_t> graphs_;  // parallel
};

}  // namespace peerage::nn::cuda
