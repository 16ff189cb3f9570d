#include "model/nn/cpu/mixture_ffn.h"

#include <algorithm>
#include <utility>

#include "model/kernels/mixture_sum.h"

namespace peerage::nn::cpu {
namespace {

// Where the quantised form of a row lies among rows of so many values.
uint8_t* PanelsOfRow(const Workspace& workspace, int depth, int row) {
  return workspace.panels + kernels::PanelBytes(kernels::WeightFormat::kQ8_0,
                                                depth / kernels::kBlock * kernels::kBlock, row);
}

}  // namespace

MixtureFfn MixtureFfn::Place(const MixtureFfnPlan& plan, WeightPlacer& placer) {
  MixtureFfn mixture;
  std::vector<std::string> scores;
  for (const ConstantExpertPlan& constant : plan.constants) scores.push_back(constant.weight.name);
  mixture.router_ = MixtureRouter::Place(plan.router, std::move(scores), placer);
  mixture.gating_residual_ = plan.gating_residual;
  if (plan.residual.has_value()) mixture.residual_ = placer.Router({plan.residual->name});
  for (const DenseFfnPlan& expert : plan.experts) {
    mixture.experts_.push_back(DenseFfn::Place(expert, placer));
  }
  mixture.first_copy_ = mixture.num_ffns() + plan.zero_experts;
  mixture.first_constant_ = mixture.first_copy_ + plan.copy_experts;
  for (const ConstantExpertPlan& constant : plan.constants) {
    mixture.vectors_.push_back(placer.RouterVector(constant.vector.name));
  }
  return mixture;
}

void MixtureFfn::Route(const StepContext& step, const Activations& u) const {
  float* logits = step.workspace.mixture.ffn_logits;
  router_.Project(step, u, logits);
  if (!residual_.parts.empty()) AddPreviousLogits(step);
  if (gating_residual_) KeepLogits(step);
  router_.Choose(step, logits);
}

void MixtureFfn::AddPreviousLogits(const StepContext& step) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  residual_.Forward(step.pool,
                    {.x = buffers.kept_logits,
                     .stride = static_cast<size_t>(router_.num_experts),
                     .tokens = step.tokens()},
                    {.y = buffers.ffn_logits,
                     .stride = router_.logits_stride(),
                     .epilogue = kernels::Epilogue::kAdd});
}

void MixtureFfn::KeepLogits(const StepContext& step) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  const size_t experts = router_.num_experts;
  step.ForTokens([&](RowRange rows) {
    for (size_t token = rows.first; token < static_cast<size_t>(rows.end); ++token) {
      std::copy_n(buffers.ffn_logits + token * router_.logits_stride(), experts,
                  buffers.kept_logits + token * experts);
    }
  });
}

void MixtureFfn::Forward(const StepContext& step, const Activations& u) const {
  Workspace& buffers = step.workspace;
  const MixtureBuffers& mixture = buffers.mixture;
  OrderByExpert(step);
  const int rows = mixture.first_row.back();
  Gather(step, u);

  const auto gate_up = Groups(step, &DenseFfn::gate_up, mixture.gathered, buffers.gate_up);
  ForRows(step.pool, rows, [&](RowRange range) { PrepareGroups(gate_up, range); });
  ForwardGroups(step.pool, gate_up);

  const auto down = Groups(step, &DenseFfn::down, buffers.hidden, mixture.outputs);
  ForRows(step.pool, rows, [&](RowRange range) {
    experts_.front().Activate(buffers.gate_up, buffers.hidden, range);
    PrepareGroups(down, range);
  });
  ForwardGroups(step.pool, down);
  Combine(step, u);
}

absl::Span<const LinearGroup> MixtureFfn::Groups(const StepContext& step,
                                                 LinearLayer DenseFfn::*layer, const float* x,
                                                 float* y) const {
  MixtureBuffers& buffers = step.workspace.mixture;
  buffers.groups.clear();
  for (size_t e = 0; e < experts_.size(); ++e) {
    const LinearLayer& linear = experts_[e].*layer;
    const int first = buffers.first_row[e], count = buffers.first_row[e + 1] - first;
    const size_t depth = linear.depth(), outputs = linear.outputs();
    if (count == 0) continue;
    buffers.groups.push_back(
        {.layer = &linear,
         .input = {.x = x + first * depth,
                   .stride = depth,
                   .panels = PanelsOfRow(step.workspace, linear.depth(), first),
                   .tokens = count},
         .output = {.y = y + first * outputs, .stride = outputs}});
  }
  return buffers.groups;
}

void MixtureFfn::OrderByExpert(const StepContext& step) const {
  MixtureBuffers& buffers = step.workspace.mixture;
  const uint32_t* ids = router_.picks(step).ids;
  const int picks = step.tokens() * router_.top_k;
  const uint32_t ffns = num_ffns();
  std::vector<int32_t>& first = buffers.first_row;
  first.assign(ffns + 1, 0);
  for (int i = 0; i < picks; ++i) {
    if (ids[i] < ffns) ++first[ids[i] + 1];
  }
  for (uint32_t e = 0; e < ffns; ++e) first[e + 1] += first[e];
  for (int i = 0; i < picks; ++i) buffers.row_of_pick[i] = ids[i] < ffns ? first[ids[i]]++ : -1;
  for (uint32_t e = ffns; e > 0; --e) first[e] = first[e - 1];
  first[0] = 0;
}

void MixtureFfn::Gather(const StepContext& step, const Activations& u) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  const size_t width = router_.hidden_size();
  const int top_k = router_.top_k;
  step.ForTokens([&](RowRange rows) {
    for (int pick = rows.first * top_k; pick < rows.end * top_k; ++pick) {
      const int32_t row = buffers.row_of_pick[pick];
      const float* x = u.x + pick / top_k * u.stride;
      if (row >= 0) std::copy_n(x, width, buffers.gathered + row * width);
    }
  });
}

void MixtureFfn::Combine(const StepContext& step, const Activations& u) const {
  const size_t width = router_.hidden_size();
  step.ForTokens([&](RowRange rows) {
    for (int token = rows.first; token < rows.end; ++token) {
      // The experts' sum first, then one rounding into the residual, as a dense layer has it: with
      // identical experts and gates that sum to one, the bits can be those of the dense layer.
      float* sum = step.workspace.mixture.gathered + token * width;  // these rows have served
      std::fill_n(sum, width, 0.0f);
      for (int pick = token * router_.top_k; pick < (token + 1) * router_.top_k; ++pick) {
        AddExpert(step, u, pick, sum);
      }
      float* y = step.workspace.residual + token * width;
      for (size_t i = 0; i < width; ++i) y[i] += sum[i];
    }
  });
}

void MixtureFfn::AddExpert(const StepContext& step, const Activations& u, int pick,
                           float* sum) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  const PickBuffer picks = router_.picks(step);
  if (picks.ids[pick] == kNoExpert) return;
  const int id = static_cast<int>(picks.ids[pick]), token = pick / router_.top_k;
  const float gate = picks.weights[pick];
  const int width = router_.hidden_size();
  const float* own_u = u.x + token * u.stride;
  if (id < num_ffns()) {
    const float* output = buffers.outputs + size_t(buffers.row_of_pick[pick]) * width;
    kernels::AddScaled(gate, output, width, sum);
  } else if (id >= first_constant_) {
    const int constant = id - first_constant_;
    const float* scores =
        buffers.ffn_logits + token * router_.logits_stride() + router_.num_experts;
    kernels::AddConstantExpert({.scores = scores + size_t{2} * constant,
                                .u = own_u,
                                .v = vectors_[constant],
                                .width = width,
                                .gate = gate},
                               sum);
  } else if (id >= first_copy_) {
    kernels::AddScaled(gate, own_u, width, sum);
  }
}

}  // namespace peerage::nn::cpu
