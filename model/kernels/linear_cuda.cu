#include "model/kernels/linear_product_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

// By shapes and types, never by the number of rows: the two kernels add in different orders.
cudaError_t Launch(const LinearProduct& product, DeviceFloat w_type, DeviceFloat x_type,
                   cudaStream_t stream) {
  if (product.rows == 0 || product.shape.outputs == 0) return cudaSuccess;
  const bool bf16 = w_type == DeviceFloat::kBF16 && x_type == DeviceFloat::kBF16;
  if (bf16 && HasWholePieces(product.x, x_type, product.x_stride, product.shape.depth) &&
      IsAligned(product.w)) {
    return LinearOnTensorCores(product, stream);
  }
  return LinearOnCores(product, w_type, x_type, stream);
}

}  // namespace

cudaError_t Linear(const LinearArgs& args, cudaStream_t stream) {
  return Launch({.shape = args.shape,
                 .w = args.w,
                 .x = args.x,
                 .x_stride = args.x_stride,
                 .bias = args.bias,
                 .y = args.y,
                 .y_stride = args.y_stride,
                 .add = args.add,
                 .rows = args.rows,
                 .scratch = args.scratch},
                args.w_type, args.x_type, stream);
}

cudaError_t GroupedLinear(const GroupedLinearArgs& args, cudaStream_t stream) {
  if (args.groups == 0) return cudaSuccess;
  return Launch({.shape = args.shape,
                 .group_w = args.w,
                 .first_row = args.first_row,
                 .groups = args.groups,
                 .x = args.x,
                 .x_stride = args.x_stride,
                 .y = args.y,
                 .y_stride = args.y_stride,
                 .rows = args.max_rows,
                 .scratch = args.scratch},
                args.w_type, args.x_type, stream);
}

}  // namespace peerage::kernels::cuda
