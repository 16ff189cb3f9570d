#include "model/nn/cuda/step_graphs.h"

#include <algorithm>
#include <memory>

#include "base/status_macros.h"
#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {
namespace {

constexpr int kMostSequences = 256;  // more tokens are launched one by one: nobody waits for them
constexpr int kFewestBlocks = 16;
constexpr int kBlocksFactor = 4;  // from a bucket of context to the next

// Powers of `factor` times `first`, then `last`.
std::vector<int> Buckets(int first, int factor, int last) {
  std::vector<int> buckets;
  for (int64_t size = first; size < last; size *= factor) buckets.push_back(static_cast<int>(size));
  buckets.push_back(last);
  return buckets;
}

struct GraphDestroyer {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};

}  // namespace

StepGraphs::StepGraphs(int max_sequences, int max_blocks, int vocab_size) {
  const int alternatives = std::min(OutputRows::kMaxAlternatives, vocab_size);
  for (const int sequences : Buckets(1, 2, std::min(max_sequences, kMostSequences))) {
    for (const int blocks : Buckets(kFewestBlocks, kBlocksFactor, max_blocks)) {
      shapes_.push_back({.tokens = sequences,
                         .rows = sequences,
                         .scores = sequences,
                         .alternatives = sequences * alternatives,
                         .sequences = sequences,
                         .max_blocks = blocks,
                         .items = sequences,
                         .decodes = sequences});
    }
  }
}

StepGraphs::~StepGraphs() { Destroy(); }

void StepGraphs::Destroy() {
  for (cudaGraphExec_t graph : graphs_) cudaGraphExecDestroy(graph);
  graphs_.clear();
}

absl::Status StepGraphs::Capture(cudaStream_t stream,
                                 absl::FunctionRef<absl::Status(const StepShape&)> enqueue) {
  Destroy();
  for (const StepShape& shape : shapes_) {
    RETURN_IF_CUDA_ERROR(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    const absl::Status enqueued = enqueue(shape);
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
    const std::unique_ptr<CUgraph_st, GraphDestroyer> owned(graph);
    RETURN_IF_ERROR(enqueued);
    RETURN_IF_CUDA_ERROR(ended);
    cudaGraphExec_t executable = nullptr;
    RETURN_IF_CUDA_ERROR(cudaGraphInstantiate(&executable, graph, 0));
    graphs_.push_back(executable);
  }
  return absl::OkStatus();
}

int StepGraphs::Find(const StepBatch& batch, const StepShape& exact) const {
  if (exact.tokens != exact.sequences) return -1;
  for (const Chunk& chunk : batch.chunks()) {
    if (chunk.tokens.size() != 1) return -1;
  }
  for (size_t i = 0; i < graphs_.size(); ++i) {
    const StepShape& shape = shapes_[i];
    if (exact.tokens <= shape.tokens && exact.rows <= shape.rows && exact.scores <= shape.scores &&
        exact.alternatives <= shape.alternatives && exact.max_blocks <= shape.max_blocks) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

absl::Status StepGraphs::Launch(int index, cudaStream_t stream) const {
  return ToStatus(cudaGraphLaunch(graphs_[index], stream), "launching a step");
}

}  // namespace peerage::nn::cuda
