#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "model/language_model.h"
#include "model/nn/load_options.h"
#include "model/nn/step/hidden_rows.h"
#include "model/nn/step/output_rows.h"
#include "model/nn/step/slot.h"
#include "model/nn/step/step_batch.h"

namespace peerage::nn {

// What a device has made of a model.
struct DeviceFacts {
  std::string device;         // "cpu"
  std::string kernel_target;  // "AVX2", "AVX3", "AVX3_DL", ...
  std::string weights_dtype;  // that most bytes of the projections have: "f32", "bf16", ...
  uint64_t weights_bytes = 0;
  uint64_t kv_block_bytes = 0;  // over all layers
  int32_t kv_block_tokens = 0;
  int32_t num_kv_blocks = 0;
  bool takes_expert_control = false;  // Chunk::control
};

// The seam between a transformer and a device: one model's weights, cache and counters on one
// device, and the arithmetic of a step. What a step is made of, who asked for what and what a
// sequence remembers is the same for every device (nn/step, nn/transformer).
//
// Threads: none; the worker that owns the model calls everything.
class ForwardPass {
 public:
  virtual ~ForwardPass() = default;

  virtual const DeviceFacts& facts() const = 0;

  // For LoadOptions of other passes; null where each pass has weights of its own.
  virtual std::shared_ptr<const SharedWeights> weights() const { return nullptr; }

  // Copies blocks, computes the batch and fills in `rows` and `hidden`, sampling for the slots (by
  // SlotId) that ask for it. The device is synchronised once, at the end. An error means that
  // nothing of the step is usable.
  virtual absl::Status Run(const StepBatch& batch, absl::Span<Slot> slots, OutputRows& rows,
                           HiddenRows& hidden) = 0;

  // What the last batch picked, by expert layer, on the host; none without traces. Valid until the
  // next Run.
  virtual absl::Span<const ExpertPicks> Picks() = 0;

  // As LanguageModel's.
  virtual UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) = 0;
  virtual void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) = 0;
  virtual void ClearUsage() = 0;
};

}  // namespace peerage::nn
