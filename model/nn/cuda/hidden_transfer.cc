#include "model/nn/cuda/hidden_transfer.h"

#include <algorithm>

#include "base/status_macros.h"
#include "model/kernels/embedding_cuda.h"
#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {
namespace {

size_t ValueBytes(const HiddenRows& hidden) {
  return hidden.tokens().size() * hidden.width() * sizeof(float);
}

}  // namespace

absl::Status HiddenTransfer::Describe(const HiddenRows& hidden, cudaStream_t stream) {
  if (hidden.empty()) return absl::OkStatus();
  const size_t bytes = hidden.tokens().size() * sizeof(int32_t);
  RETURN_IF_ERROR(tokens_.Reserve(bytes));
  RETURN_IF_ERROR(values_.Reserve(ValueBytes(hidden)));
  std::copy(hidden.tokens().begin(), hidden.tokens().end(),
            reinterpret_cast<int32_t*>(tokens_.host()));
  return ToStatus(
      cudaMemcpyAsync(tokens_.device(), tokens_.host(), bytes, cudaMemcpyHostToDevice, stream),
      "copying which hidden states are wanted");
}

absl::Status HiddenTransfer::Fetch(const HiddenRows& hidden, cudaStream_t stream) {
  if (hidden.empty()) return absl::OkStatus();
  return ToStatus(cudaMemcpyAsync(values_.host(), values_.device(), ValueBytes(hidden),
                                  cudaMemcpyDeviceToHost, stream),
                  "copying hidden states");
}

void HiddenTransfer::Report(HiddenRows& hidden) const {
  std::copy_n(reinterpret_cast<const float*>(values_.host()), hidden.values().size(),
              hidden.values().begin());
}

HiddenTransfer::Rows HiddenTransfer::RowsOf(const HiddenRows& hidden, int layer) const {
  const HiddenRows::Range range = hidden.RowsOf(layer);
  if (range.first == range.end) return {};
  return {
      .tokens = reinterpret_cast<const int32_t*>(tokens_.device()) + range.first,
      .values = reinterpret_cast<float*>(values_.device()) + size_t(range.first) * hidden.width(),
      .count = range.end - range.first};
}

// Rows are looked up in the residual stream as tokens are in the table of embeddings.
void CopyResidual(StepContext& step, const HiddenTransfer::Rows& rows, int width) {
  step.Launch(kernels::cuda::Embed, {.table = step.workspace.residual,
                                     .table_type = DeviceFloat::kF32,
                                     .tokens = rows.tokens,
                                     .x = rows.values,
                                     .count = rows.count,
                                     .width = width});
}

}  // namespace peerage::nn::cuda
