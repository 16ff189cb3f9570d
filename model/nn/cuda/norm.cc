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

// Of picked rows of the residual stream.
void NormResidual(StepContext& step, const int32_t* rows, int count, kernels::cuda::NormArgs args) {
  args.x = step.workspace.residual;
  args.x_type = DeviceFloat::kF32;
  args.x_stride = static_cast<size_t>(args.width);
  args.rows = rows;
  args.count = count;
  step.Launch(kernels::cuda::Norm, args);
}

}  // namespace

Norm Norm::Place(const NormPlan& plan, WeightPlacer& placer) {
  return {.type = plan.type,
          .epsilon = plan.epsilon,
          .width = plan.width,
          .weight = placer.Vector(plan.weight)};
}

Activations Norm::OfResidual(StepContext& step) const {
  return OfRows(step, nullptr, step.tokens(), step.workspace.normed);
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

Activations Norm::OfRows(StepContext& step, const int32_t* rows, int count, void* y) const {
  NormResidual(step, rows, count, ArgsOf(*this, step.activations, y));
  return step.Rows(y, width);
}

void Norm::FloatsOfRows(StepContext& step, const int32_t* rows, int count, float* y) const {
  NormResidual(step, rows, count, ArgsOf(*this, DeviceFloat::kF32, y));
}

}  // namespace peerage::nn::cuda
