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

template <typename Arrays>
size_t MostBytesOf(absl::Span<const StepShape> shapes) {
  size_t most = 0;
  for (const StepShape& shape : shapes) most = std::max(most, BytesOf<Arrays>(shape));
  return most;
}

// Of each list: 262,144 tokens that rows have seen, half a million masked ids. More move the list,
// and then all graphs are captured anew.
constexpr size_t kListBytes = size_t{2} << 20;

}  // namespace

size_t StepTransfer::ReservedBytes(absl::Span<const StepShape> shapes) {
  return MostBytesOf<StepArrays>(shapes) + MostBytesOf<ResultArrays>(shapes) + 3 * kListBytes;
}

absl::Status StepTransfer::Reserve(absl::Span<const StepShape> shapes) {
  RETURN_IF_ERROR(ReserveFor(shapes));
  for (StagedMemory* list : {&biases_, &seen_, &masked_}) {
    RETURN_IF_ERROR(list->Reserve(kListBytes));
  }
  return absl::OkStatus();
}

absl::Status StepTransfer::ReserveFor(absl::Span<const StepShape> shapes) {
  RETURN_IF_ERROR(step_.Reserve(MostBytesOf<StepArrays>(shapes)));
  return results_.Reserve(MostBytesOf<ResultArrays>(shapes));
}

int StepTransfer::moves() const {
  return step_.moves() + results_.moves() + biases_.moves() + seen_.moves() + masked_.moves();
}

absl::Status StepTransfer::Describe(const StepShape& shape, const StepBatch& batch,
                                    absl::Span<Slot> slots, OutputRows& rows, cudaStream_t stream) {
  RETURN_IF_ERROR(ReserveFor({&shape, 1}));
  ArraysAt<StepArrays>(shape, step_.host()).Fill(shape, batch, slots, rows, wanted_);
  RETURN_IF_ERROR(Send(wanted_.biases, biases_, stream));
  RETURN_IF_ERROR(Send(wanted_.seen, seen_, stream));
  RETURN_IF_ERROR(Send(wanted_.masked, masked_, stream));
  StepShape filled = shape;  // without rows of the block table that nobody reads
  filled.sequences = static_cast<int>(batch.chunks().size());
  return ToStatus(cudaMemcpyAsync(step_.device(), step_.host(), BytesOf<StepArrays>(filled),
                                  cudaMemcpyHostToDevice, stream),
                  "copying a step's description");
}

template <typename T>
absl::Status StepTransfer::Send(const std::vector<T>& list, StagedMemory& memory,
                                cudaStream_t stream) {
  if (list.empty()) return absl::OkStatus();
  const size_t bytes = list.size() * sizeof(T);
  RETURN_IF_ERROR(memory.Reserve(bytes));
  std::copy(list.begin(), list.end(), reinterpret_cast<T*>(memory.host()));
  return ToStatus(
      cudaMemcpyAsync(memory.device(), memory.host(), bytes, cudaMemcpyHostToDevice, stream),
      "copying a list of a step");
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
