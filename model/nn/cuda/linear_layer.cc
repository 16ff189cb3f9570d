#include "model/nn/cuda/linear_layer.h"

#include "model/kernels/linear_cuda.h"

namespace peerage::nn::cuda {
namespace {

kernels::cuda::LinearShape ShapeOf(const Matrix& w) { return {w.outputs, w.depth}; }

float* Scratch(const StepContext& step) { return reinterpret_cast<float*>(step.workspace.scratch); }

}  // namespace

void Forward(const LinearLayer& layer, StepContext& step, const Activations& input, int rows,
             const LinearOutput& output) {
  const Matrix& w = layer.w;
  if (step.matmul != nullptr && rows > kMostStreamedRows && layer.bias == nullptr &&
      input.stride == static_cast<size_t>(w.depth) && Matmul::Takes(w, input.type, output.stride)) {
    return step.Then([&] {
      return step.matmul->Run({.w = w,
                               .x = input.x,
                               .y = output.y,
                               .y_stride = output.stride,
                               .add = output.add,
                               .rows = rows},
                              step.stream);
    });
  }
  step.Launch(kernels::cuda::Linear, {.shape = ShapeOf(w),
                                      .w = w.data,
                                      .w_type = w.type,
                                      .x = input.x,
                                      .x_type = input.type,
                                      .x_stride = input.stride,
                                      .bias = layer.bias,
                                      .y = output.y,
                                      .y_stride = output.stride,
                                      .add = output.add,
                                      .rows = rows,
                                      .scratch = Scratch(step)});
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
