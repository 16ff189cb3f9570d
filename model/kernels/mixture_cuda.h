// Mixtures of whole attention and feed-forward experts (BAM, Zhang et al. 2024; BTX, Sukhbaatar et
// al. 2024; MoE++, Jin et al. 2024) on a device: choosing, ordering by expert without the host, and
// the weighted sum. The arithmetic is that of model/nn/cpu/mixture_router.cc and mixture_ffn.cc.
#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/norm_cuda.h"
#include "model/kernels/router_control_cuda.h"

namespace peerage::kernels::cuda {

// Softmax over all experts, then the top k, best first, lower ids first among equals, their gates
// divided by their sum if `normalize`. NaN spreads as in arithmetic; ids stay below `experts`. What
// a request asks comes first: biases before the softmax, masked experts are passed over, what is
// forced is taken; places without an expert have kNoExpert and 0.
struct ChooseExpertsArgs {
  float* logits = nullptr;  // [count][stride], replaced by the gates of all experts
  size_t stride = 0;        // at least `experts`
  int experts = 0;
  int top_k = 0;
  bool normalize = false;
  const int32_t* positions = nullptr;  // [count], -1: padding
  RouterControls controls;
  uint32_t* ids = nullptr;   // [count][top_k]; kNoExpert for padding
  float* weights = nullptr;  // likewise; 0 for padding
  int count = 0;
};
cudaError_t ChooseExperts(const ChooseExpertsArgs& args, cudaStream_t stream);

// head_gates[t][h] = the gate of expert_of_head[h], 0 where the token did not pick it.
struct SpreadGatesArgs {
  const uint32_t* ids = nullptr;  // [count][top_k]
  const float* weights = nullptr;
  int top_k = 0;
  const int32_t* expert_of_head = nullptr;  // [heads] on the device
  int heads = 0;
  float* head_gates = nullptr;  // [count][heads]
  int count = 0;
};
cudaError_t SpreadGates(const SpreadGatesArgs& args, cudaStream_t stream);

// to[t] = from[t] for `width` values of each row: logits that reach a later layer.
struct KeepRowsArgs {
  const float* from = nullptr;
  size_t from_stride = 0;
  float* to = nullptr;
  size_t to_stride = 0;
  int width = 0;
  int count = 0;
};
cudaError_t KeepRows(const KeepRowsArgs& args, cudaStream_t stream);

// Rows are the picks of FFNs (ids below `ffns`) ordered by expert, then by token, then by pick.
struct OrderByExpertArgs {
  const uint32_t* ids = nullptr;  // [picks]
  int picks = 0;                  // count * top_k
  int ffns = 0;
  int32_t* first_row = nullptr;    // [ffns + 1]; the last is the number of rows
  int32_t* row_of_pick = nullptr;  // [picks], -1: none
};
cudaError_t OrderByExpert(const OrderByExpertArgs& args, cudaStream_t stream);

// gathered[row_of_pick[p]] = u[p / top_k].
struct GatherRowsArgs {
  const void* u = nullptr;                // [count][width]
  DeviceFloat type = DeviceFloat::kBF16;  // of both
  const int32_t* row_of_pick = nullptr;   // [count * top_k]
  int top_k = 0;
  void* gathered = nullptr;  // [count * top_k][width]
  int count = 0;
  int width = 0;
};
cudaError_t GatherRows(const GatherRowsArgs& args, cudaStream_t stream);

// What a mixture adds to rows: row t is the sum over the token's picks, in order, of gate *
// expert(u): of FFNs the rows that were computed; ids behind them are zero, copy (u) and constant
// (a1 u + a2 v) experts, in this order, (a1, a2) = softmax of two scores that the router gave.
struct MixtureParts {
  const uint32_t* ids = nullptr;  // [rows][top_k]; kNoExpert adds nothing
  const float* weights = nullptr;
  int top_k = 0;  // 0: there is nothing to add
  const int32_t* row_of_pick = nullptr;
  const float* outputs = nullptr;  // [rows * top_k][width] of FFNs
  const void* u = nullptr;         // [rows][width]
  DeviceFloat u_type = DeviceFloat::kBF16;
  int first_copy = 0;  // ids
  int first_constant = 0;
  const float* const* vectors = nullptr;  // [constants] on the device: v [width] of each
  const float* scores = nullptr;          // [rows][scores_stride]: [constants][2]
  size_t scores_stride = 0;
};
// x[t] += row t.
cudaError_t AddRows(const SumRows& rows, const MixtureParts& added, cudaStream_t stream);
// As norm_cuda.h has it for other parts. y is of u's type, and may be u where no rows are picked.
cudaError_t NormOfSum(const NormArgs& args, const MixtureParts& added, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
