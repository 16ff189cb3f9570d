#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/kernels/attention_cuda.h"
#include "model/kernels/output_head_cuda.h"
#include "model/nn/arena.h"
#include "model/nn/cuda/device_memory.h"
#include "model/nn/step/output_rows.h"
#include "model/nn/step/slot.h"
#include "model/nn/step/step_batch.h"

namespace peerage::nn::cuda {

// How many of everything the launches of a step are for; a step that is replayed from a graph is
// padded to its graph's.
struct StepShape {
  int tokens = 0;
  int rows = 0;    // of output
  int scores = 0;  // of all rows together
  int alternatives = 0;
  int sequences = 0;  // rows of the block table
  int max_blocks = 0;
  int items = 0;    // of attention
  int decodes = 0;  // of them, those of one token that come first, with the first tokens

  friend bool operator==(const StepShape&, const StepShape&) = default;
};

// A step's description, the same bytes on the host and on the device.
struct StepArrays {
  int32_t* tokens = nullptr;                      // [tokens], -1: padding
  int32_t* positions = nullptr;                   // likewise
  int32_t* blocks = nullptr;                      // [tokens]: the block that holds the position
  kernels::cuda::AttentionItem* items = nullptr;  // [items]
  int32_t* row_tokens = nullptr;                  // [rows], -1: padding
  kernels::cuda::RowRequest* requests = nullptr;  // [rows]
  uint32_t* targets = nullptr;                    // [scores]
  // [sequences][max_blocks]. Only what the batch has is filled in, and nothing lies behind it.
  int32_t* block_table = nullptr;

  void Lay(const StepShape& shape, Arena& arena);
  // Fills in what lies on the host. `lists` takes what has no fixed number.
  struct Lists;
  void Fill(const StepShape& shape, const StepBatch& batch, absl::Span<Slot> slots,
            OutputRows& rows, Lists& lists) const;

 private:
  void FillTokens(const StepShape& shape, const StepBatch& batch) const;
  void FillItems(const StepShape& shape, const StepBatch& batch) const;
};

// What sampling asks for in lists that all rows share.
struct StepArrays::Lists {
  std::vector<kernels::cuda::TokenBias> biases;
  std::vector<kernels::cuda::SeenToken> seen;
  std::vector<uint32_t> masked;

  void Clear();
  // Adds what a slot asks for, and says in the request where it lies.
  void Ask(const Slot& slot, kernels::cuda::RowRequest& request);
};

// What a step's output rows become, the same bytes on the host and on the device.
struct ResultArrays {
  int32_t* failed = nullptr;                                 // [rows]
  kernels::cuda::DeviceScore* scores = nullptr;              // [scores]
  kernels::cuda::DeviceAlternative* alternatives = nullptr;  // [alternatives]

  void Lay(const StepShape& shape, Arena& arena);
  // Hands what lies on the host to the rows, and sampled tokens to their slots.
  void Report(absl::Span<Slot> slots, OutputRows& rows) const;
};

// The shape of a step as it is.
StepShape ShapeOf(const StepBatch& batch, OutputRows& rows);

}  // namespace peerage::nn::cuda
