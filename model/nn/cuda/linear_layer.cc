#include "model/nn/cuda/linear_layer.h"

#include "model/kernels/linear_cuda.h"

namespace peerage::nn::cuda {
namespace {

kernels::cuda::LinearShape ShapeOf(const Matrix& w) { return {w.outputs, w.depth}; }

float* Scratch(StepContext& step) { return reinterpret_cast<float*>(step.Scratch()); }

bool IsForCublasLt(const LinearLayer& layer, const StepContext& step, const Activations& input,
                   int rows, size_t y_stride) {
  return step.matmul != nullptr && rows > kMostStreamedRows && layer.bias == nullptr &&
         input.stride == static_cast<size_t>(layer.w.depth) &&
         Matmul::Takes(layer.w, input.type, y_stride);
}

kernels::cuda::LinearArgs ArgsOf(const LinearLayer& layer, StepContext& step,
                                 const Activations& input, int rows) {
  return {.shape = ShapeOf(layer.w),
          .w = layer.w.data,
          .w_type = layer.w.type,
          .x = input.x,
          .x_type = input.type,
          .x_stride = input.stride,
          .bias = layer.bias,
          .rows = rows,
          .scratch = Scratch(step)};
}

}  // namespace

void Forward(const LinearLayer& layer, StepContext& step, const Activations& input, int rows,
             const LinearOutput& output) {
  if (IsForCublasLt(layer, step, input, rows, output.stride)) {
    return step.Then([&] {
      return step.matmul->Run({.w = layer.w,
                               .x = input.x,
                               .y = output.y,
                               .y_stride = output.stride,
                               .add = output.add,
                               .rows = rows},
                              step.stream);
    });
  }
  kernels::cuda::LinearArgs args = ArgsOf(layer, step, input, rows);
  args.y = output.y;
  args.y_stride = output.stride;
  args.add = output.add;
  step.Launch(kernels::cuda::Linear, args);
}

void AddToResidual(const LinearLayer& layer, StepContext& step, const Activations& input) {
  const int tokens = step.tokens();
  const auto stride = static_cast<size_t>(layer.outputs());
  if (!IsForCublasLt(layer, step, input, tokens, stride)) {
    const kernels::cuda::LinearArgs args = ArgsOf(layer, step, input, tokens);
    const kernels::cuda::RowParts parts = PartsOf(args);
    if (parts.count > 0) {
      step.Launch(kernels::cuda::LinearInParts, args);
      return step.residual.Add(step, parts);
    }
  }
  Forward(layer, step, input, tokens,
          {.y = step.residual.Rows(step), .stride = stride, .add = true});
}

void RaiseNeeds(const LinearLayer& layer, int rows, LayerNeeds& needs) {
  needs.RaiseScratch(kernels::cuda::LinearScratchFloats(ShapeOf(layer.w), rows) * sizeof(float));
}

void Forward(const LinearGroup& group, StepContext& step, const Activations& input,
             const int32_t* first_row, int max_rows, const LinearOutput& output) {
  step.Launch(kernels::cuda::GroupedLinear, {.shape = ShapeOf(group.shape),
                                             .w = group.w,
                                             .w_type = group.shape.type,
                                             .x = input.x,
                                             .x_type = input.type,
                                             .x_stride = input.stride,
                                             .y = output.y,
                                             .y_stride = output.stride,
                                             .first_row = first_row,
                                             .groups = group.groups,
                                             .max_rows = max_rows,
                                             .scratch = Scratch(step)});
}

void RaiseNeeds(const LinearGroup& group, int max_rows, LayerNeeds& needs) {
  needs.RaiseScratch(kernels::cuda::LinearScratchFloats(ShapeOf(group.shape), max_rows) *
                     sizeof(float));
}

}  // namespace peerage::nn::cuda
