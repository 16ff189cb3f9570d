#pragma once

#include <vector>

#include "model/nn/cpu/dense_ffn.h"
#include "model/nn/cpu/mixture_router.h"

namespace peerage::nn::cpu {

// A mixture of gated feed-forward experts (BTX, Sukhbaatar et al. 2024; BAM, Zhang et al. 2024):
//
//   x += sum over the token's top k experts of  gate * FFN_expert(u)
//
// The step's picks are ordered by expert, so that only experts that some token chose are read, each
// of their weights once. A token adds its experts' outputs in the order of its picks.
class MixtureFfn {
 public:
  static MixtureFfn Place(const MixtureFfnPlan& plan, WeightPlacer& placer);

  // Chooses every token's experts. It needs u alone: in a parallel block this comes before
  // attention.
  void Route(const StepContext& step, const Activations& u) const { router_.Forward(step, u); }
  void Forward(const StepContext& step, const Activations& u) const;

  void AppendRouters(std::vector<LinearLayer*>& order) { order.push_back(&router_.projection); }
  void AppendWeights(std::vector<LinearLayer*>& order) {}  // which experts, no one knows before
  size_t ScratchBytes() const { return 0; }

 private:
  // Rows are picks ordered by expert, then by token.
  void OrderByExpert(const StepContext& step) const;
  void Gather(const StepContext& step, const Activations& u) const;
  void Combine(const StepContext& step) const;
  // Of every chosen expert, one of its two layers on its rows.
  absl::Span<const LinearGroup> Groups(const StepContext& step, LinearLayer DenseFfn::*layer,
                                       const float* x, float* y) const;

  MixtureRouter router_;
  std::vector<DenseFfn> experts_;
};

}  // namespace peerage::nn::cpu
