#include "model/kernels/norm_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

template <typename X>
cudaError_t LaunchFrom(const NormArgs& args, const RowParts& added, cudaStream_t stream) {
  return args.y_type == DeviceFloat::kF32 ? LaunchNorm<X, float>(args, added, stream)
                                          : LaunchNorm<X, uint16_t>(args, added, stream);
}

}  // namespace

cudaError_t Norm(const NormArgs& args, cudaStream_t stream) { return NormOfSum(args, {}, stream); }

cudaError_t NormOfSum(const NormArgs& args, const RowParts& added, cudaStream_t stream) {
  if (args.x_type == DeviceFloat::kF32) return LaunchFrom<float>(args, added, stream);
  return added.count == 0 ? LaunchFrom<uint16_t>(args, added, stream) : cudaErrorInvalidValue;
}

}  // namespace peerage::kernels::cuda
