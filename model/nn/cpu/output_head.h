#pragma once

#include <span>
#include <vector>

#include "absl/types/span.h"
#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/norm.h"
#include "model/nn/cpu/sampler.h"
#include "model/nn/cpu/step_context.h"
#include "model/nn/step/hidden_rows.h"
#include "model/nn/step/output_rows.h"
#include "model/nn/step/slot.h"

namespace peerage::nn::cpu {

// From the residual stream to what callers asked for: final norm, logits of the rows that need
// them (in groups, so memory stays bounded), then log-probabilities, ranks, alternatives, samples.
// Logits never leave this file.
class OutputHead {
 public:
  OutputHead(const Norm& norm, LinearLayer projection)
      : norm_(norm), projection_(std::move(projection)) {}

  // The hidden states of these rows: the residual stream after the final norm.
  void Normalize(const StepContext& step, HiddenRows::Range rows, HiddenRows& hidden) const;

  // Fills in every row. `slots` by SlotId, `scratch` by thread: from step to step the same, at
  // first empty.
  void Forward(const StepContext& step, absl::Span<Slot> slots, OutputRows& rows,
               std::vector<SamplerScratch>& scratch) const;

  void AppendWeights(std::vector<LinearLayer*>& order) { order.push_back(&projection_); }

 private:
  // Logits of rows [first, first + count).
  void Project(const StepContext& step, const OutputRows& rows, int first, int count) const;

  // What one thread works in.
  struct Scratch {
    std::span<float> logits;  // [vocab]
    SamplerScratch& sampler;
  };
  // False when the row's logits hold no distribution (NaN, or nothing finite).
  bool Report(OutputRows& rows, int row, std::span<float> logits, Slot& slot,
              const Scratch& scratch) const;

  Norm norm_;
  LinearLayer projection_;
};

}  // namespace peerage::nn::cpu
