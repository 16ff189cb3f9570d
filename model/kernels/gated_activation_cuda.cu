#include "model/kernels/activation_cuda.cuh"
#include "model/kernels/elements_cuda.cuh"
#include "model/kernels/gated_activation_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kColumns = kThreads * kPiece;  // of a block

template <Activation kFunction, typename Y, bool kWhole>
__global__ void __launch_bounds__(kThreads) GatedActivationKernel(GatedActivationArgs args) {
  const int row = blockIdx.x, width = args.width;
  const int i = blockIdx.y * kColumns + threadIdx.x * kPiece;
  if (i >= width || (args.rows_used != nullptr && row >= *args.rows_used)) return;
  const float* gates = args.gate_up + size_t(row) * 2 * width;
  const Eight gate = LoadPieceOf<kWhole>(gates, i, width);
  Eight y = LoadPieceOf<kWhole>(gates + width, i, width);
#pragma unroll
  for (int j = 0; j < kPiece; ++j) y.v[j] *= Activate(kFunction, gate.v[j]);
  StorePieceOf<kWhole>(static_cast<Y*>(args.y) + size_t(row) * width, i, width, y);
}

template <Activation kFunction, typename Y>
auto Choose(const GatedActivationArgs& args) {
  const bool whole = HasWholePieces(args.gate_up, DeviceFloat::kF32, args.width, args.width) &&
                     HasWholePieces(args.y, args.y_type, args.width, args.width);
  return whole ? GatedActivationKernel<kFunction, Y, true>
               : GatedActivationKernel<kFunction, Y, false>;
}

template <Activation kFunction>
cudaError_t Launch(const GatedActivationArgs& args, cudaStream_t stream) {
  const auto kernel = args.y_type == DeviceFloat::kF32 ? Choose<kFunction, float>(args)
                                                       : Choose<kFunction, uint16_t>(args);
  const dim3 grid(args.rows, (args.width + kColumns - 1) / kColumns);
  return LaunchKernel(kernel, grid, kThreads, 0, stream, args);
}

}  // namespace

cudaError_t GatedActivation(const GatedActivationArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  switch (args.function) {
    case Activation::kSilu:
      return Launch<Activation::kSilu>(args, stream);
    case Activation::kGelu:
      return Launch<Activation::kGelu>(args, stream);
    case Activation::kGeluTanh:
      return Launch<Activation::kGeluTanh>(args, stream);
    case Activation::kRelu:
      return Launch<Activation::kRelu>(args, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace peerage::kernels::cuda
