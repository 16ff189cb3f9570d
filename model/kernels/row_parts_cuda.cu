#include "model/kernels/row_parts_cuda.cuh"

namespace peerage::kernels::cuda {

cudaError_t AddRows(const SumRows& rows, const RowParts& added, cudaStream_t stream) {
  return LaunchAddRows(rows, added, stream);
}

}  // namespace peerage::kernels::cuda
