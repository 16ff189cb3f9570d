#include "model/nn/cuda/residual_stream.h"

#include <utility>

#include "model/nn/cuda/step_context.h"

namespace peerage::nn::cuda {
namespace {

// What a later layer would write over first.
const void* PlaceOf(const kernels::cuda::RowParts& parts) { return parts.parts; }
const void* PlaceOf(const kernels::cuda::MixtureParts& parts) { return parts.outputs; }

}  // namespace

void ResidualStream::Add(StepContext& step, const Parts& parts) {
  Rows(step);  // sums are in the order of layers
  waiting_ = parts;
}

float* ResidualStream::Rows(StepContext& step) {
  const Sum sum = Take();
  const kernels::cuda::SumRows rows = {.x = rows_, .count = step.tokens(), .width = width_};
  step.Launch([&] {
    return std::visit(
        [&](const auto& added) { return kernels::cuda::AddRows(rows, added, step.stream); },
        sum.added);
  });
  return rows_;
}

ResidualStream::Sum ResidualStream::Take() {
  return {.rows = rows_, .added = std::exchange(waiting_, {})};
}

void ResidualStream::MakeWay(StepContext& step, const void* buffer) {
  if (std::visit([](const auto& parts) { return PlaceOf(parts); }, waiting_) == buffer) Rows(step);
}

}  // namespace peerage::nn::cuda
