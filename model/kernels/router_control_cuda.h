// What requests ask of routers (model/experts/expert_control.h), as kernels read it: of the tokens
// of a step, in one expert layer.
#pragma once

#include <cstdint>

#include "model/experts/expert_control.h"
#include "model/kernels/device_float_cuda.h"

namespace peerage::kernels::cuda {

// Of one token, or of several of which the same is asked. `first_`: the word of
// RouterControls::words with which a list begins.
struct RouterControl {
  int32_t top_k = 0;                     // of each head: 1..the layer's
  int32_t first_masked = 0, masked = 0;  // uint32_t, ascending, apart
  int32_t first_bias = 0, biases = 0;    // ExpertBias, ids ascending, apart
  int32_t first_forced = -1;  // uint32_t [heads][top_k]: picks, then kNoExpert; -1: chosen ones
  int32_t first_weight = -1;  // float, likewise of what is forced; -1: the router's own weights
};

// Two addresses that stay what they are from step to step, so that graphs can know them.
struct RouterControls {
  const int32_t* of_token = nullptr;  // [tokens of the step]: the first word of one; -1: nothing
  int first = 0, end = 0;             // all tokens that have one are in [first, end); none: 0, 0
  const uint32_t* words = nullptr;    // RouterControls and their lists

  bool empty() const { return first == end; }
};

}  // namespace peerage::kernels::cuda
