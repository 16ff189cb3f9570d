#pragma once

#include <cstdint>
#include <vector>

#include "model/kernels/attention.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/cpu/expert_counters.h"
#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/rows.h"
#include "model/nn/cpu/workspace.h"
#include "model/nn/load_options.h"
#include "model/nn/plan/part.h"
#include "model/nn/step/step_batch.h"

namespace peerage::nn::cpu {

// What attention needs to know of a step, once for all layers: the pieces of work for any one KV
// head, and the rotary angles of every token. Reused from step to step.
class StepTables {
 public:
  void Assign(const StepBatch& batch);

  // The longest items first: threads claim them one by one, and the last ones are short then.
  absl::Span<const kernels::AttentionItem> attention_items() const { return items_; }

  // Angles of the batch's tokens for one kind of rotary positions: computed when a layer first asks
  // for it in a step, on the caller's thread.
  struct RotaryAngles {
    int dim = 0;
    float theta = 0;
    bool current = false;       // of this step
    std::vector<float> angles;  // [tokens][cos, sin][dim / 2]

    const float* cos(int token) const { return angles.data() + size_t(token) * dim; }
    const float* sin(int token) const { return cos(token) + dim / 2; }
  };
  const RotaryAngles& angles(const RotaryPlan& rotary, const StepBatch& batch);

 private:
  std::vector<kernels::AttentionItem> items_;
  std::vector<RotaryAngles> angles_;  // one for each kind that a layer has asked for
};

// What the layers of one step share. Layers run one after the other and use the same buffers.
struct StepContext {
  kernels::ThreadPool& pool;
  Workspace& workspace;
  const StepBatch& batch;
  StepTables& tables;
  ExpertCounters& counters;
  const InputTap& tap;  // may be empty

  int tokens() const { return batch.size(); }

  // A linear layer's output that is added to the residual stream, rows of `width` values.
  LinearLayer::Output AddToResidual(int width) const {
    return {.y = workspace.residual,
            .stride = static_cast<size_t>(width),
            .epilogue = kernels::Epilogue::kAdd};
  }

  // work(RowRange) for the rows of all tokens, on all threads.
  template <typename Work>
  void ForTokens(const Work& work) const {
    ForRows(pool, tokens(), work);
  }
};

}  // namespace peerage::nn::cpu
