// Looking up what is asked of a token: lists are short, or in order.
#pragma once

#include "model/kernels/device_cuda.cuh"
#include "model/kernels/router_control_cuda.h"

namespace peerage::kernels::cuda {

// The first of `count` entries whose id is no less.
template <typename Entry, typename IdOf>
__device__ __forceinline__ int LowerBound(const Entry* entries, int count, uint64_t id,
                                          const IdOf& id_of) {
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (id_of(entries[middle]) < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Null: nothing is asked of the token.
__device__ __forceinline__ const RouterControl* ControlOf(const RouterControls& controls,
                                                          int token) {
  const int word = controls.of_token[token];
  return word < 0 ? nullptr : reinterpret_cast<const RouterControl*>(controls.words + word);
}

__device__ __forceinline__ const ExpertBias* BiasesOf(const RouterControls& controls,
                                                      const RouterControl& control) {
  return reinterpret_cast<const ExpertBias*>(controls.words + control.first_bias);
}

// Null: the router's own.
__device__ __forceinline__ const float* ForcedWeightsOf(const RouterControls& controls,
                                                        const RouterControl& control) {
  if (control.first_weight < 0) return nullptr;
  return reinterpret_cast<const float*>(controls.words + control.first_weight);
}

__device__ __forceinline__ bool IsMasked(const RouterControls& controls,
                                         const RouterControl& control, uint32_t id) {
  const uint32_t* ids = controls.words + control.first_masked;
  const int at = LowerBound(ids, control.masked, id, [](uint32_t masked) { return masked; });
  return at < control.masked && ids[at] == id;
}

}  // namespace peerage::kernels::cuda
