#include "model/kernels/linear_product_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

// By shapes and types, never by the number of rows: the two kernels add in different orders.
bool IsForTensorCores(const LinearProduct& product, DeviceFloat w_type, DeviceFloat x_type) {
  return w_type == DeviceFloat::kBF16 && x_type == DeviceFloat::kBF16 &&
         HasWholePieces(product.x, x_type, product.x_stride, product.shape.depth) &&
         IsAligned(product.w);
}

cudaError_t Launch(const LinearProduct& product, DeviceFloat w_type, DeviceFloat x_type,
                   cudaStream_t stream) {
  if (product.rows == 0 || product.shape.outputs == 0) return cudaSuccess;
  if (IsForTensorCores(product, w_type, x_type)) return LinearOnTensorCores(product, stream);
  return LinearOnCores(product, w_type, x_type, stream);
}

LinearProduct ProductOf(const LinearArgs& args) {
  return {.shape = args.shape,
          .w = args.w,
          .x = args.x,
          .x_stride = args.x_stride,
          .bias = args.bias,
          .y = args.y,
          .y_stride = args.y_stride,
          .add = args.add,
          .rows = args.rows,
          .scratch = args.scratch};
}

}  // namespace

cudaError_t Linear(const LinearArgs& args, cudaStream_t stream) {
  return Launch(ProductOf(args), args.w_type, args.x_type, stream);
}

RowParts PartsOf(const LinearArgs& args) {
  const LinearProduct product = ProductOf(args);
  if (!IsForTensorCores(product, args.w_type, args.x_type)) return {};
  return PartsOnTensorCores(product);
}

cudaError_t LinearInParts(const LinearArgs& args, cudaStream_t stream) {
  LinearProduct product = ProductOf(args);
  product.y = nullptr;
  return Launch(product, args.w_type, args.x_type, stream);
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
