#pragma once

#include <vector>

#include "model/nn/cpu/attention.h"
#include "model/nn/cpu/mixture_router.h"

namespace peerage::nn::cpu {

// A mixture of whole attention layers (BAM, Zhang et al. 2024, section 3):
//
//   x += sum over experts of  gate * Attention_expert(u)
//
// computed as one attention with the heads of all experts, each head's output multiplied by its
// expert's gate before one output projection, which is the same sum (nn/plan/attention_plan.h has
// the order of the heads).
class MixtureAttention {
 public:
  static MixtureAttention Place(const MixtureAttentionPlan& plan, WeightPlacer& placer);

  void Forward(const StepContext& step, const Activations& u, const KvLayer& kv) const;

  void AppendWeights(std::vector<LinearLayer*>& order) {
    order.push_back(&router_.projection);
    wide_.AppendWeights(order);
  }

 private:
  // Each head's gate: zero for experts that were not picked.
  void SpreadGates(const StepContext& step) const;

  MixtureRouter router_;
  Attention wide_;
  std::vector<int> expert_of_head_;  // [heads of all experts]
};

}  // namespace peerage::nn::cpu
