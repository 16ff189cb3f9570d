#include "model/nn/cuda/output_head.h"

#include <algorithm>

namespace peerage::nn::cuda {

void OutputHead::Forward(StepContext& step, const SamplingArrays& lists) const {
  const Workspace& buffers = step.workspace;
  if (step.shape.rows > Workspace::kLogitRows) step.residual.Rows(step);  // several norms read it
  for (int first = 0; first < step.shape.rows; first += Workspace::kLogitRows) {
    const int count = std::min(Workspace::kLogitRows, step.shape.rows - first);
    const Activations last =
        norm_.OfLastRows(step, step.arrays.row_tokens + first, count, buffers.last);
    cuda::Forward(projection_, step, last, count,
                  {.y = buffers.logits, .stride = static_cast<size_t>(projection_.outputs())});
    Report(step, first, count, lists);
  }
}

void OutputHead::Report(StepContext& step, int first_row, int count,
                        const SamplingArrays& lists) const {
  step.Launch(kernels::cuda::ReportRows, {.logits = step.workspace.logits,
                                          .vocabulary = projection_.outputs(),
                                          .requests = step.arrays.requests + first_row,
                                          .count = count,
                                          .targets = step.arrays.targets,
                                          .biases = lists.biases,
                                          .seen = lists.seen,
                                          .masked = lists.masked,
                                          .scores = step.results.scores,
                                          .alternatives = step.results.alternatives,
                                          .failed = step.results.failed + first_row,
                                          .scratch = step.Scratch()});
}

void OutputHead::RaiseNeeds(LayerNeeds& needs) const {
  cuda::RaiseNeeds(projection_, Workspace::kLogitRows, needs);
  needs.RaiseScratch(
      kernels::cuda::ReportScratchBytes(projection_.outputs(), Workspace::kLogitRows));
}

}  // namespace peerage::nn::cuda
