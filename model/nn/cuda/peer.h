#pragma once

#include <optional>

#include "model/kernels/experts_cuda.h"
#include "model/nn/cuda/norm.h"
#include "model/nn/cuda/product_key_router.h"
#include "model/nn/plan/product_key_plan.h"

namespace peerage::nn::cuda {

// Experts found by product keys, whose weighted outputs are added to the residual stream.
struct RetrievedExperts {
  ProductKeyRouter router;
  kernels::ExpertTable table;
  Activation activation = Activation::kGelu;

  void Forward(StepContext& step, const Activations& input) const;
};

// Parameter-efficient expert retrieval (He 2024, Algorithm 1).
struct Peer {
  std::optional<Norm> norm;  // of what query and experts read
  RetrievedExperts experts;

  static Peer Place(const PeerPlan& plan, WeightPlacer& placer);

  void Route(StepContext& step, const Activations& u) const {}
  void Forward(StepContext& step, const Activations& u) const;
  void RaiseNeeds(LayerNeeds& needs) const { experts.router.RaiseNeeds(needs); }
};

// Product-key memory (Lample et al. 2019).
struct ProductKeyMemory {
  RetrievedExperts values;

  static ProductKeyMemory Place(const ProductKeyMemoryPlan& plan, WeightPlacer& placer);

  void Route(StepContext& step, const Activations& u) const {}
  void Forward(StepContext& step, const Activations& u) const { values.Forward(step, u); }
  void RaiseNeeds(LayerNeeds& needs) const { values.router.RaiseNeeds(needs); }
};

}  // namespace peerage::nn::cuda
