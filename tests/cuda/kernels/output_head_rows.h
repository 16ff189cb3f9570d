#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "model/kernels/output_head_cuda.h"
#include "model/nn/step/slot.h"
#include "model/token.h"

namespace peerage {

// A row of logits and what is asked of it, as the CPU has them.
struct HeadRow {
  std::vector<float> logits;
  nn::Slot slot;  // samples when `sample`
  bool sample = false;
  std::vector<TokenId> targets;  // when not
  int alternatives = -1;
  bool padding = false;
};

struct HeadRowResult {
  std::vector<kernels::cuda::DeviceScore> scores;
  std::vector<kernels::cuda::DeviceAlternative> alternatives;
  int32_t failed = 0;
};
// Bit for bit.
bool operator==(const HeadRowResult& a, const HeadRowResult& b);

// What results hold where nothing was written.
inline constexpr uint32_t kUnwrittenToken = 0xdeadbeef;
inline constexpr int32_t kUnwrittenFailure = 77;

// All rows in one launch of ReportRows, which must leave the logits as they are. `misaligned`: they
// begin at an address that is not a multiple of 16.
std::vector<HeadRowResult> ReportHeadRows(const std::vector<HeadRow>& rows, cudaStream_t stream,
                                          bool misaligned = false);

// What the CPU makes of a row: tokens and ranks exactly, log-probabilities in double. Moves the
// row's slot on, as sampling does.
HeadRowResult ReferenceHeadRow(HeadRow& row);

}  // namespace peerage
