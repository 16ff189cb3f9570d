#include "model/nn/cuda/hidden_transfer.h"

#include <algorithm>

#include "base/status_macros.h"
#include "model/kernels/embedding_cuda.h"
#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {
namespace {

size_t TokenBytes(int tokens, int layers) { return size_t(tokens) * layers * sizeof(int32_t); }
size_t RowBytes(int rows, int width) { return size_t(rows) * width * sizeof(float); }

int CountOf(const HiddenRows& hidden, int layer) {
  const HiddenRows::Range range = hidden.RowsOf(layer);
  return range.end - range.first;
}

// Whatever lay there is gone.
absl::Status MakeRoom(MemoryKind kind, size_t bytes, Memory& memory) {
  if (bytes <= memory.size()) return absl::OkStatus();
  memory = Memory();
  ASSIGN_OR_RETURN(memory, Memory::Allocate(kind, bytes));
  return absl::OkStatus();
}

}  // namespace

size_t HiddenTransfer::ReservedBytes(int tokens, int layers, int width) {
  return TokenBytes(tokens, layers) + RowBytes(tokens, width);
}

absl::Status HiddenTransfer::Reserve(int tokens, int layers, int width) {
  layers_ = layers;
  RETURN_IF_ERROR(tokens_.Reserve(TokenBytes(tokens, layers)));
  return MakeRoom(MemoryKind::kDevice, RowBytes(tokens, width), rows_);
}

absl::Status HiddenTransfer::Describe(const HiddenRows& hidden, cudaStream_t stream) {
  if (hidden.empty()) return absl::OkStatus();
  const size_t bytes = hidden.tokens().size() * sizeof(int32_t);
  RETURN_IF_ERROR(tokens_.Reserve(bytes));
  int most = 0;  // more than there are tokens, if some are asked for twice
  for (int layer = 0; layer < layers_; ++layer) most = std::max(most, CountOf(hidden, layer));
  RETURN_IF_ERROR(MakeRoom(MemoryKind::kDevice, RowBytes(most, hidden.width()), rows_));
  const auto all = static_cast<int>(hidden.tokens().size());
  RETURN_IF_ERROR(MakeRoom(MemoryKind::kPinned, RowBytes(all, hidden.width()), values_));
  std::copy(hidden.tokens().begin(), hidden.tokens().end(),
            reinterpret_cast<int32_t*>(tokens_.host()));
  return ToStatus(
      cudaMemcpyAsync(tokens_.device(), tokens_.host(), bytes, cudaMemcpyHostToDevice, stream),
      "copying which hidden states are wanted");
}

absl::Status HiddenTransfer::Fetch(const HiddenRows& hidden, int layer, cudaStream_t stream) {
  const int count = CountOf(hidden, layer), width = hidden.width();
  if (count == 0) return absl::OkStatus();
  uint8_t* to = values_.data() + RowBytes(hidden.RowsOf(layer).first, width);
  return ToStatus(
      cudaMemcpyAsync(to, rows_.data(), RowBytes(count, width), cudaMemcpyDeviceToHost, stream),
      "copying hidden states");
}

void HiddenTransfer::Report(HiddenRows& hidden) const {
  std::copy_n(reinterpret_cast<const float*>(values_.data()), hidden.values().size(),
              hidden.values().begin());
}

HiddenTransfer::Rows HiddenTransfer::RowsOf(const HiddenRows& hidden, int layer) const {
  const int count = CountOf(hidden, layer);
  if (count == 0) return {};
  return {.tokens = reinterpret_cast<const int32_t*>(tokens_.device()) + hidden.RowsOf(layer).first,
          .values = reinterpret_cast<float*>(rows_.data()),
          .count = count};
}

// Rows are looked up in the residual stream as tokens are in the table of embeddings.
void CopyResidual(StepContext& step, const HiddenTransfer::Rows& rows, int width) {
  if (rows.count == 0) return;
  step.Launch(kernels::cuda::Embed, {.table = step.residual.Rows(step),
                                     .table_type = DeviceFloat::kF32,
                                     .tokens = rows.tokens,
                                     .x = rows.values,
                                     .count = rows.count,
                                     .width = width});
}

}  // namespace peerage::nn::cuda
