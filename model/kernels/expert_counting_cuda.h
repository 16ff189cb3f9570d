// What a step's picks add to the statistics of an expert layer, on the device: integers alone, so
// that the order of threads does not matter (model/nn/cpu/expert_counters.h has the same sums).
#pragma once

#include <cuda_runtime_api.h>

#include "model/experts/expert_usage.h"
#include "model/kernels/device_float_cuda.h"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {

// UsageTotals as the device holds them.
struct DeviceTotals {
  unsigned long long tokens = 0;
  unsigned long long squared_scores[2] = {};  // low, high: a 128-bit sum
  unsigned long long step_distinct = 0;
  unsigned long long steps = 0;                                        // that had tokens
  unsigned long long kept_mass[RatioCounts::kBounds.size() + 1] = {};  // by bound, then their sum
  unsigned long long router_entropy[RatioCounts::kBounds.size() + 1] = {};
};

struct CountExpertsArgs {
  const uint32_t* ids = nullptr;  // [count][heads][top_k]; kNoExpert is not counted
  const float* weights = nullptr;
  const int32_t* positions = nullptr;  // [count], -1: padding
  int count = 0;
  int heads = 0;
  int top_k = 0;
  ExpertCount* counts = nullptr;  // [num_experts]
  uint32_t* last_step = nullptr;  // [num_experts]: the step that picked it last, from 1 on
  DeviceTotals* totals = nullptr;
  // Product keys: how often each sub-key led to a pick, of one token in kTokensPerSample (counted
  // over all tokens since the layer's totals were zero).
  uint64_t* sub_keys = nullptr;  // [heads][2][num_sub_keys], or null
  uint32_t num_sub_keys = 0;
  uint32_t experts_of_set = 0;  // an id modulo this is i * num_sub_keys + j
};
// Precondition: padding comes after all tokens. Adds the tokens to the totals, too: to be called
// once a step, after ObserveRouter.
cudaError_t CountExperts(const CountExpertsArgs& args, cudaStream_t stream);

// How sure a router of product keys was (kernels/router_figures.h), of the tokens that are samples:
// the same choice of tokens and heads as on the CPU. NaN is not taken in.
struct ObserveRouterArgs {
  ProductKeyShape shape;
  const float* queries = nullptr;  // as SelectExpertsArgs has them
  const void* sub_keys = nullptr;
  DeviceFloat sub_key_type = DeviceFloat::kBF16;
  const uint32_t* ids = nullptr;
  const int32_t* positions = nullptr;
  int count = 0;
  DeviceTotals* totals = nullptr;
  float* scratch = nullptr;  // ObserveScratchFloats(shape, count)
};
size_t ObserveScratchFloats(const ProductKeyShape& shape, int count);
cudaError_t ObserveRouter(const ObserveRouterArgs& args, cudaStream_t stream);

// The same of a mixture's router, from its gates.
struct ObserveGatesArgs {
  const float* gates = nullptr;  // [count][stride]: softmax over all experts
  size_t stride = 0;
  int experts = 0;
  const uint32_t* ids = nullptr;  // [count][top_k]
  int top_k = 0;
  const int32_t* positions = nullptr;
  int count = 0;
  DeviceTotals* totals = nullptr;
};
cudaError_t ObserveGates(const ObserveGatesArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
