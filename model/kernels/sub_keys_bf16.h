// Sub-key scores with AVX512-BF16 (vdpbf16ps): half the cost of fp32, and still the fp32 result.
#pragma once

#include <cstdint>

#include "model/kernels/product_keys.h"

namespace peerage::kernels {

// This CPU has the instructions.
bool HasBF16Arithmetic();

// What follows is for CPUs that have them and keys that they pay for (UsesBF16).

// The largest difference of a query's approximate scores from exact ones, or infinity when there is
// no proof of any (extreme values, NaN).
float BF16Tolerance(const SubKeys& keys, const float* query);

// Pairs of bf16 that a query takes in the work space.
constexpr size_t RoundedStride(int width) { return (static_cast<size_t>(width) + 15) / 16 * 8; }

struct ApproximateArgs {
  SubKeys keys;
  const float* queries = nullptr;  // [rows][stride]
  size_t stride = 0;
  int rows = 0;
  uint32_t* rounded = nullptr;  // work space [rows][RoundedStride(width)]
  float* scores = nullptr;      // [rows][score_stride], written up to a multiple of kOutputs
  size_t score_stride = 0;
};
void ScoreApproximately(const ApproximateArgs& args);

// scores[i] of key ids[i]: the fp32 chain. Arrays are read and written up to a multiple of 16; what
// lies behind `count` in `ids` is overwritten.
struct RescoreArgs {
  SubKeys keys;
  const float* query = nullptr;
  int count = 0;
  uint32_t* ids = nullptr;
  float* scores = nullptr;
};
void Rescore(const RescoreArgs& args);

}  // namespace peerage::kernels
