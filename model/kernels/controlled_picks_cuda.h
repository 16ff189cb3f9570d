// What heads of product keys pick for tokens of which a request asks something, on a device:
// model/kernels/controlled_picks.h, for all such tokens of a step at once. It comes after
// SelectExperts and changes what that picked where something that is asked concerns it.
#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/product_keys_cuda.h"
#include "model/kernels/router_control_cuda.h"

namespace peerage::kernels::cuda {

struct ControlPicksArgs {
  SelectExpertsArgs select;  // as SelectExperts had them, but for `scratch`
  RouterControls controls;
  uint8_t* scratch = nullptr;  // ControlScratchBytes(shape, count), 16-byte aligned
};
size_t ControlScratchBytes(const ProductKeyShape& shape, int count);
cudaError_t ControlPicks(const ControlPicksArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
