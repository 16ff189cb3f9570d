// What a head of product keys picks when a request asks something of its router
// (model/experts/expert_control.h): product_keys.h for one row at a time, from all of its scores,
// with the same order and weights.
#pragma once

#include <cstdint>
#include <span>

#include "model/config/activation.h"
#include "model/experts/expert_control.h"

namespace peerage::kernels {

struct ControlledPicksArgs {
  std::span<const float> scores[2] = {};  // [n] each: expert i * n + j has s1[i] + s2[j]
  RouterScore score = RouterScore::kSoftmax;
  uint32_t first_id = 0;                  // added to every id; those of the control have it
  const LayerControl* control = nullptr;  // not null
  int k = 0;                              // the head's places, 1..min(n * n, kMaxTopK)
  std::span<uint32_t> scratch = {};       // [2 n]
  uint32_t* ids = nullptr;                // [k], by sum descending, then id, then kNoExpert
  float* weights = nullptr;               // [k], 0 of kNoExpert
};

// ids and weights are those that CombineHalves gave. They stay when nothing that is asked concerns
// them. Else: the first control->top_k, or as many as there are, of all experts that are not masked
// by their biased sums (s1[i] + s2[j]) + bias.
void PickUnderControl(const ControlledPicksArgs& args);
void PickUnderControlReference(const ControlledPicksArgs& args);  // always looks at all n * n

// The router's own weights, without biases, of the experts in ids, which end at the first
// kNoExpert. In the order of their sums they get the bits that CombineHalves gives them.
void WeighForcedPicks(const ControlledPicksArgs& args);
void WeighForcedPicksReference(const ControlledPicksArgs& args);

}  // namespace peerage::kernels
