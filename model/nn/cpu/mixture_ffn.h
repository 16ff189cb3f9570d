#pragma once

#include <vector>

#include "model/nn/cpu/dense_ffn.h"
#include "model/nn/cpu/mixture_router.h"

namespace peerage::nn::cpu {

// A mixture of gated feed-forward experts (BTX, Sukhbaatar et al. 2024; BAM, Zhang et al. 2024):
//
//   x += sum over the token's top k experts of  gate * expert(u)
//
// where an expert is an FFN, or of MoE++ (Jin et al. 2024, section 3.2)
//
//   zero: 0     copy: u     constant: a1 u + a2 v,  (a1, a2) = softmax(W_c u)
//
// With gating residuals the logits of the gates are W u + W_g l, l those of the nearest earlier
// layer with one (MoE++, section 3.3). The scores of constant experts come with the logits, from
// the same product.
//
// The step's picks are ordered by expert, so that only FFNs that some token chose are read, each of
// their weights once. A token adds its experts' outputs in the order of its picks; for zero and
// copy experts nothing is read or computed before.
class MixtureFfn {
 public:
  static MixtureFfn Place(const MixtureFfnPlan& plan, WeightPlacer& placer);

  // Chooses every token's experts. It needs u alone: in a parallel block this comes before
  // attention.
  void Route(const StepContext& step, const Activations& u) const;
  void Forward(const StepContext& step, const Activations& u) const;

  void AppendRouters(std::vector<LinearLayer*>& order) { order.push_back(&router_.projection); }
  void AppendWeights(std::vector<LinearLayer*>& order) {}  // which experts, no one knows before
  size_t ScratchBytes() const { return 0; }

 private:
  void AddPreviousLogits(const StepContext& step) const;
  void KeepLogits(const StepContext& step) const;
  // Rows are picks of FFNs ordered by expert, then by token; other picks have none (-1).
  void OrderByExpert(const StepContext& step) const;
  void Gather(const StepContext& step, const Activations& u) const;
  void Combine(const StepContext& step, const Activations& u) const;
  // What the expert of one pick (an index among all picks) gives, times its gate.
  void AddExpert(const StepContext& step, const Activations& u, int pick, float* sum) const;
  int num_ffns() const { return static_cast<int>(experts_.size()); }
  // Of every chosen expert, one of its two layers on its rows.
  absl::Span<const LinearGroup> Groups(const StepContext& step, LinearLayer DenseFfn::*layer,
                                       const float* x, float* y) const;

  MixtureRouter router_;
  bool gating_residual_ = false;
  LinearLayer residual_;  // W_g [experts, experts]; without parts in the first such layer
  std::vector<DenseFfn> experts_;
  int first_copy_ = 0;  // ids: FFNs, zeros, copies, constants
  int first_constant_ = 0;
  std::vector<const float*> vectors_;  // v of each constant expert
};

}  // namespace peerage::nn::cpu
