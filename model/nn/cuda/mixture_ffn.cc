#include "model/nn/cuda/mixture_ffn.h"

#include <algorithm>
#include <string>
#include <utility>

#include "model/kernels/gated_activation_cuda.h"
#include "model/kernels/mixture_cuda.h"

namespace peerage::nn::cuda {
namespace {

// The matrices that one launch runs are of one type: the widest.
LinearGroup PlaceGroup(const MixtureFfnPlan& plan, MatrixSource DenseFfnPlan::*source,
                       WeightPlacer& placer) {
  DeviceFloat type = DeviceFloat::kBF16;
  for (const DenseFfnPlan& expert : plan.experts) {
    if (placer.TypeOf(expert.*source) == DeviceFloat::kF32) type = DeviceFloat::kF32;
  }
  LinearGroup group;
  std::vector<const void*> matrices;
  for (const DenseFfnPlan& expert : plan.experts) {
    group.shape = placer.Linear(expert.*source, type).w;
    matrices.push_back(group.shape.data);
  }
  group.groups = static_cast<int>(matrices.size());
  group.w = placer.Constants(matrices);
  return group;
}

}  // namespace

MixtureFfn MixtureFfn::Place(const MixtureFfnPlan& plan, WeightPlacer& placer) {
  MixtureFfn mixture;
  std::vector<std::string> scores;
  for (const ConstantExpertPlan& constant : plan.constants) scores.push_back(constant.weight.name);
  mixture.router_ = MixtureRouter::Place(plan.router, std::move(scores), placer);
  mixture.gating_residual_ = plan.gating_residual;
  if (plan.residual.has_value()) {
    mixture.residual_ = placer.Router(std::vector<std::string>{plan.residual->name});
  }
  mixture.gate_up_ = PlaceGroup(plan, &DenseFfnPlan::gate_up, placer);
  mixture.down_ = PlaceGroup(plan, &DenseFfnPlan::down, placer);
  mixture.activation_ = plan.experts.front().activation;
  mixture.first_copy_ = mixture.gate_up_.groups + plan.zero_experts;
  mixture.first_constant_ = mixture.first_copy_ + plan.copy_experts;
  std::vector<const float*> vectors;
  for (const ConstantExpertPlan& constant : plan.constants) {
    vectors.push_back(placer.RouterVector(constant.vector.name));
  }
  mixture.vectors_ = placer.Constants(vectors);
  return mixture;
}

void MixtureFfn::Route(StepContext& step, const Activations& u) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  const auto experts = static_cast<size_t>(router_.num_experts);
  router_.Project(step, u, buffers.ffn_logits);
  if (residual_.outputs() > 0) {
    cuda::Forward(
        residual_, step, {.x = buffers.kept_logits, .type = DeviceFloat::kF32, .stride = experts},
        step.tokens(), {.y = buffers.ffn_logits, .stride = router_.logits_stride(), .add = true});
  }
  if (gating_residual_) {
    step.Launch(kernels::cuda::KeepRows, {.from = buffers.ffn_logits,
                                          .from_stride = router_.logits_stride(),
                                          .to = buffers.kept_logits,
                                          .to_stride = experts,
                                          .width = router_.num_experts,
                                          .count = step.tokens()});
  }
  router_.Choose(step, buffers.ffn_logits);
}

void MixtureFfn::Forward(StepContext& step, const Activations& u) const {
  float* outputs = step.MixtureOutputs();
  OrderAndGather(step, u);
  RunExperts(step, outputs);
  Combine(step, u, outputs);
}

void MixtureFfn::OrderAndGather(StepContext& step, const Activations& u) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  step.Launch(kernels::cuda::OrderByExpert, {.ids = router_.picks(step).ids,
                                             .picks = rows(step.tokens()),
                                             .ffns = gate_up_.groups,
                                             .first_row = buffers.first_row,
                                             .row_of_pick = buffers.row_of_pick});
  step.Launch(kernels::cuda::GatherRows, {.u = u.x,
                                          .type = u.type,
                                          .row_of_pick = buffers.row_of_pick,
                                          .top_k = router_.top_k,
                                          .gathered = buffers.gathered,
                                          .count = step.tokens(),
                                          .width = hidden_size()});
}

void MixtureFfn::RunExperts(StepContext& step, float* outputs) const {
  const Workspace& buffers = step.workspace;
  const int32_t* first_row = buffers.mixture.first_row;
  const int most = rows(step.tokens());
  const int width = down_.shape.depth;
  cuda::Forward(gate_up_, step, step.Rows(buffers.mixture.gathered, hidden_size()), first_row, most,
                {.y = buffers.gate_up, .stride = size_t{2} * width});
  step.Launch(kernels::cuda::GatedActivation, {.function = activation_,
                                               .gate_up = buffers.gate_up,
                                               .y = buffers.hidden,
                                               .y_type = step.activations,
                                               .rows_used = first_row + gate_up_.groups,
                                               .rows = most,
                                               .width = width});
  cuda::Forward(down_, step, step.Rows(buffers.hidden, width), first_row, most,
                {.y = outputs, .stride = static_cast<size_t>(hidden_size())});
}

void MixtureFfn::Combine(StepContext& step, const Activations& u, const float* outputs) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  const PickBuffer picks = router_.picks(step);
  step.residual.Add(step,
                    kernels::cuda::MixtureParts{.ids = picks.ids,
                                                .weights = picks.weights,
                                                .top_k = router_.top_k,
                                                .row_of_pick = buffers.row_of_pick,
                                                .outputs = outputs,
                                                .u = u.x,
                                                .u_type = u.type,
                                                .first_copy = first_copy_,
                                                .first_constant = first_constant_,
                                                .vectors = vectors_,
                                                .scores = buffers.ffn_logits + router_.num_experts,
                                                .scores_stride = router_.logits_stride()});
}

void MixtureFfn::RaiseNeeds(LayerNeeds& needs) const {
  cuda::RaiseNeeds(router_.projection, needs.tokens, needs);
  if (residual_.outputs() > 0) {
    cuda::RaiseNeeds(residual_, needs.tokens, needs);
  }
  cuda::RaiseNeeds(gate_up_, rows(needs.tokens), needs);
  cuda::RaiseNeeds(down_, rows(needs.tokens), needs);
  needs.most_ffns = std::max(needs.most_ffns, gate_up_.groups);
}

}  // namespace peerage::nn::cuda
