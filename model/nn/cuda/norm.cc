#include "model/nn/cuda/norm.h"

#include "model/kernels/norm_cuda.h"

namespace peerage::nn::cuda {
namespace {

kernels::cuda::NormArgs ArgsOf(const Norm& norm, DeviceFloat y_type, void* y) {
  return {.layer_norm = norm.type == NormType::kLayerNorm,
          .weight = norm.weight,
          .y = y,
          .y_type = y_type,
          .y_stride = static_cast<size_t>(norm.width),
          .epsilon = norm.epsilon,
          .width = norm.width};
}

// Of rows of the residual stream, and what is to be added to them.
void NormResidual(StepContext& step, const ResidualStream::Sum& x, kernels::cuda::NormArgs args) {
  args.x = x.rows;
  args.x_type = DeviceFloat::kF32;
  args.x_stride = static_cast<size_t>(args.width);
  step.Launch([&] {
    return std::visit(
        [&](const auto& added) { return kernels::cuda::NormOfSum(args, added, step.stream); },
        x.added);
  });
}

}  // namespace

Norm Norm::Place(const NormPlan& plan, WeightPlacer& placer) {
  return {.type = plan.type,
          .epsilon = plan.epsilon,
          .width = plan.width,
          .weight = placer.Vector(plan.weight)};
}

Activations Norm::OfResidual(StepContext& step) const {
  void* y = step.workspace.normed;
  const ResidualStream::Sum x = step.residual.Take();
  kernels::cuda::NormArgs args = ArgsOf(*this, step.activations, y);
  args.sums = x.rows;
  args.count = step.tokens();
  NormResidual(step, x, args);
  return step.Rows(y, width);
}

Activations Norm::Of(StepContext& step, const Activations& input, void* y) const {
  kernels::cuda::NormArgs args = ArgsOf(*this, step.activations, y);
  args.x = input.x;
  args.x_type = input.type;
  args.x_stride = input.stride;
  args.count = step.tokens();
  step.Launch(kernels::cuda::Norm, args);
  return step.Rows(y, width);
}

Activations Norm::OfLastRows(StepContext& step, const int32_t* rows, int count, void* y) const {
  kernels::cuda::NormArgs args = ArgsOf(*this, step.activations, y);
  args.rows = rows;
  args.count = count;
  NormResidual(step, step.residual.Take(), args);
  return step.Rows(y, width);
}

void Norm::FloatsOfRows(StepContext& step, const int32_t* rows, int count, float* y) const {
  if (count == 0) return;
  kernels::cuda::NormArgs args = ArgsOf(*this, DeviceFloat::kF32, y);
  args.rows = rows;
  args.count = count;
  step.residual.Rows(step);
  NormResidual(step, step.residual.Take(), args);
}

}  // namespace peerage::nn::cuda
