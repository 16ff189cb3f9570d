#include "model/nn/cpu/mixture_ffn.h"

#include <algorithm>
#include <cmath>

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
  mixture.router_ = MixtureRouter::Place(plan.router, placer);
  for (const DenseFfnPlan& expert : plan.experts) {
    mixture.experts_.push_back(DenseFfn::Place(expert, placer));
  }
  return mixture;
}

void MixtureFfn::Forward(const StepContext& step, const Activations& u) const {
  Workspace& buffers = step.workspace;
  const MixtureBuffers& mixture = buffers.mixture;
  const int rows = step.tokens() * router_.top_k;
  OrderByExpert(step);
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
  Combine(step);
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
  std::vector<int32_t>& first = buffers.first_row;
  first.assign(experts_.size() + 1, 0);
  for (int i = 0; i < picks; ++i) ++first[ids[i] + 1];
  for (size_t e = 0; e < experts_.size(); ++e) first[e + 1] += first[e];
  for (int i = 0; i < picks; ++i) buffers.row_of_pick[i] = first[ids[i]]++;
  for (size_t e = experts_.size(); e > 0; --e) first[e] = first[e - 1];
  first[0] = 0;
}

void MixtureFfn::Gather(const StepContext& step, const Activations& u) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  const size_t width = router_.hidden_size();
  const int top_k = router_.top_k;
  step.ForTokens([&](RowRange rows) {
    for (int pick = rows.first * top_k; pick < rows.end * top_k; ++pick) {
      const float* x = u.x + pick / top_k * u.stride;
      std::copy_n(x, width, buffers.gathered + buffers.row_of_pick[pick] * width);
    }
  });
}

void MixtureFfn::Combine(const StepContext& step) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  const float* weights = router_.picks(step).weights;
  const size_t width = router_.hidden_size();
  step.ForTokens([&](RowRange rows) {
    for (int token = rows.first; token < rows.end; ++token) {
      float* y = step.workspace.residual + token * width;
      const int pick = token * router_.top_k;
      // The experts' sum first, then one rounding into the residual, as a dense layer has it: with
      // identical experts and gates that sum to one, the bits can be those of the dense layer.
      for (size_t i = 0; i < width; ++i) {
        float sum = 0;
        for (int k = 0; k < router_.top_k; ++k) {
          sum = std::fma(weights[pick + k],
                         buffers.outputs[buffers.row_of_pick[pick + k] * width + i], sum);
        }
        y[i] += sum;
      }
    }
  });
}

}  // namespace peerage::nn::cpu
