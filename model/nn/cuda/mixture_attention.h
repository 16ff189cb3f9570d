#pragma once

#include "model/nn/cuda/attention.h"
#include "model/nn/cuda/mixture_router.h"

namespace peerage::nn::cuda {

// A mixture of whole attention layers (BAM, Zhang et al. 2024) as one wide attention whose heads
// are weighted by the gates of their experts (nn/plan/attention_plan.h).
class MixtureAttention {
 public:
  static MixtureAttention Place(const MixtureAttentionPlan& plan, WeightPlacer& placer);

  void Forward(StepContext& step, const Activations& u, const kernels::cuda::KvView& kv) const;
  void RaiseNeeds(LayerNeeds& needs) const;

 private:
  MixtureRouter router_;
  Attention wide_;
  const int32_t* expert_of_head_ = nullptr;  // [heads of all experts]
  int heads_ = 0;
};

}  // namespace peerage::nn::cuda
