#include "model/nn/cuda/step_transfer.h"

#include <algorithm>

#include "base/status_macros.h"
#include "model/nn/cuda/cuda_status.h"

namespace peerage::nn::cuda {
namespace {

template <typename Arrays>
Arrays ArraysAt(const StepShape& shape, uint8_t* memory) {
  Arrays arrays;
  Arena arena(memory, SIZE_MAX, Arena::Guard::kNo);
  arrays.Lay(shape, arena);
  return arrays;
}

template <typename Arrays>
size_t BytesOf(const StepShape& shape) {
  return BytesFor([&](Arena& arena) { Arrays().Lay(shape, arena); });
}

}  // namespace

absl::Status StepTransfer::Reserve(absl::Span<const StepShape> shapes) {
  constexpr size_t kListBytes = size_t{64} << 10;
  for (const StepShape& shape : shapes) RETURN_IF_ERROR(ReserveFor(shape).status());
  for (StagedMemory* list : {&biases_, &seen_, &masked_}) {
    RETURN_IF_ERROR(list->Reserve(kListBytes).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> StepTransfer::ReserveFor(const StepShape& shape) {
  ASSIGN_OR_RETURN(const bool step_moved, step_.Reserve(BytesOf<StepArrays>(shape)));
  ASSIGN_OR_RETURN(const bool results_moved, results_.Reserve(BytesOf<ResultArrays>(shape)));
  return step_moved || results_moved;
}

absl::StatusOr<bool> StepTransfer::Describe(const StepShape& shape, const StepBatch& batch,
                                            absl::Span<Slot> slots, OutputRows& rows,
                                            cudaStream_t stream) {
  ASSIGN_OR_RETURN(const bool moved, ReserveFor(shape));
  ArraysAt<StepArrays>(shape, step_.host()).Fill(shape, batch, slots, rows, wanted_);
  ASSIGN_OR_RETURN(const bool biases_moved, Send(wanted_.biases, biases_, stream));
  ASSIGN_OR_RETURN(const bool seen_moved, Send(wanted_.seen, seen_, stream));
  ASSIGN_OR_RETURN(const bool masked_moved, Send(wanted_.masked, masked_, stream));
  RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(step_.device(), step_.host(), BytesOf<StepArrays>(shape),
                                       cudaMemcpyHostToDevice, stream));
  return moved || biases_moved || seen_moved || masked_moved;
}

template <typename T>
absl::StatusOr<bool> StepTransfer::Send(const std::vector<T>& list, StagedMemory& memory,
                                        cudaStream_t stream) {
  if (list.empty()) return false;
  const size_t bytes = list.size() * sizeof(T);
  ASSIGN_OR_RETURN(const bool moved, memory.Reserve(bytes));
  std::copy(list.begin(), list.end(), reinterpret_cast<T*>(memory.host()));
  RETURN_IF_CUDA_ERROR(
      cudaMemcpyAsync(memory.device(), memory.host(), bytes, cudaMemcpyHostToDevice, stream));
  return moved;
}

absl::Status StepTransfer::Fetch(const StepShape& shape, cudaStream_t stream) {
  const size_t bytes = BytesOf<ResultArrays>(shape);
  if (bytes == 0) return absl::OkStatus();
  return ToStatus(
      cudaMemcpyAsync(results_.host(), results_.device(), bytes, cudaMemcpyDeviceToHost, stream),
      "copying a step's results");
}

void StepTransfer::Report(const StepShape& shape, absl::Span<Slot> slots, OutputRows& rows) const {
  ArraysAt<ResultArrays>(shape, results_.host()).Report(slots, rows);
}

StepArrays StepTransfer::arrays(const StepShape& shape) const {
  return ArraysAt<StepArrays>(shape, step_.device());
}

ResultArrays StepTransfer::results(const StepShape& shape) const {
  return ArraysAt<ResultArrays>(shape, results_.device());
}

SamplingArrays StepTransfer::lists() const {
  return {.biases = reinterpret_cast<const kernels::cuda::TokenBias*>(biases_.device()),
          .seen = reinterpret_cast<const kernels::cuda::SeenToken*>(seen_.device()),
          .masked = reinterpret_cast<const uint32_t*>(masked_.device())};
}

}  // namespace peerage::nn::cuda
