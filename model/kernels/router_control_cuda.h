// What requests ask of routers (model/experts/expert_control.h), as kernels read it: of the tokens
// of a step, in one expert layer.
#pragma once

#include <cstdint>

#include "model/experts/expert_control.h"
#include "model/kernels/device_float_cuda.h"

namespace peerage::kernels::cuda {

// Of one token, or of several of which the same is asked. Lists are parts of those in
// RouterControls.
struct RouterControl {
  int32_t top_k = 0;  // of each head: 1..the layer's
  int32_t first_masked = 0, masked = 0;
  int32_t first_bias = 0, biases = 0;
  int32_t first_forced = -1;  // of [heads][top_k]; -1: experts are chosen
  int32_t first_weight = -1;  // likewise of what is forced; -1: the router's own weights
};

struct RouterControls {
  const int32_t* of_token = nullptr;  // [tokens of the step]: an index of entries; -1: nothing
  int first = 0, end = 0;             // all tokens that have one are in [first, end); none: 0, 0
  const RouterControl* entries = nullptr;
  const uint32_t* masked = nullptr;       // each one's ascending, apart
  const ExpertBias* biases = nullptr;     // each one's ids ascending, apart
  const uint32_t* forced_ids = nullptr;   // of a head: picks, then kNoExpert
  const float* forced_weights = nullptr;  // likewise

  bool empty() const { return first == end; }
};

}  // namespace peerage::kernels::cuda
