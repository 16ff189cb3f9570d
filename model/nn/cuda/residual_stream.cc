#include "model/nn/cuda/residual_stream.h"

#include <utility>

#include "model/nn/cuda/step_context.h"

namespace peerage::nn::cuda {

void ResidualStream::Add(StepContext& step, const kernels::cuda::RowParts& parts) {
  Rows(step);  // sums are in the order of layers
  waiting_ = parts;
}

float* ResidualStream::Rows(StepContext& step) {
  const auto [rows, added] = Take();
  step.Launch(kernels::cuda::AddRows,
              {.added = added, .x = rows, .rows = step.tokens(), .width = width_});
  return rows;
}

ResidualStream::Sum ResidualStream::Take() {
  return {.rows = rows_, .added = std::exchange(waiting_, {})};
}

void ResidualStream::MakeWay(StepContext& step, const void* buffer) {
  if (waiting_.count > 0 && waiting_.parts == buffer) Rows(step);
}

}  // namespace peerage::nn::cuda
