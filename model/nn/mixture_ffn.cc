#include "model/nn/mixture_ffn.h"

#include <algorithm>
#include <cmath>

#include "model/nn/grouped_linear.h"

namespace peerage::nn {
namespace {

// Where the quantised form of a row lies among rows of so many values.
uint8_t* PanelsOfRow(const Workspace& workspace, int depth, int row) {
  return workspace.panels + kernels::PanelBytes(kernels::WeightFormat::kQ8_0,
                                                depth / kernels::kBlock * kernels::kBlock, row);
}

}  // namespace

void MixtureFfn::Route(kernels::ThreadPool& pool, Workspace& workspace, const Activations& input,
                       const PickBuffer& picks) const {
  router.Forward(pool, input, workspace.mixture.logits, picks);
}

void MixtureFfn::Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const {
  MixtureBuffers& buffers = workspace.mixture;
  OrderByExpert(step, buffers);
  const int rows = step.input.tokens * router.top_k;
  const int width = experts.front().down.depth();

  // Of every chosen expert, one of its two layers on its rows.
  const auto groups = [&](LinearLayer DenseFfn::*layer, const float* x, float* y) {
    buffers.groups.clear();
    for (size_t e = 0; e < experts.size(); ++e) {
      const LinearLayer& linear = experts[e].*layer;
      const int first = buffers.first_row[e], count = buffers.first_row[e + 1] - first;
      const size_t depth = linear.depth(), outputs = linear.outputs();
      if (count == 0) continue;
      buffers.groups.push_back({.layer = &linear,
                                .input = {.x = x + first * depth,
                                          .stride = depth,
                                          .panels = PanelsOfRow(workspace, linear.depth(), first),
                                          .tokens = count},
                                .output = {.y = y + first * outputs, .stride = outputs}});
    }
    return absl::MakeConstSpan(buffers.groups);
  };
  Gather(pool, workspace, step);
  const auto gate_up = groups(&DenseFfn::gate_up, buffers.gathered, workspace.gate_up);
  pool.For(rows, kRowGrain,
           [&](int64_t first, int64_t end, int) { PrepareGroups(gate_up, first, end); });
  ForwardGroups(pool, gate_up);

  const kernels::GatedActivationArgs gated{.function = experts.front().activation,
                                           .gate = workspace.gate_up,
                                           .up = workspace.gate_up + width,
                                           .in_stride = 2 * static_cast<size_t>(width),
                                           .width = width,
                                           .y = workspace.hidden,
                                           .y_stride = static_cast<size_t>(width)};
  const auto down = groups(&DenseFfn::down, workspace.hidden, buffers.outputs);
  pool.For(rows, kRowGrain, [&](int64_t first, int64_t end, int) {
    kernels::GatedActivation(gated, static_cast<int>(first), static_cast<int>(end));
    PrepareGroups(down, first, end);
  });
  ForwardGroups(pool, down);
  Combine(pool, workspace, step);
}

void MixtureFfn::OrderByExpert(const Step& step, MixtureBuffers& buffers) const {
  const int picks = step.input.tokens * router.top_k;
  std::vector<int32_t>& first = buffers.first_row;
  first.assign(experts.size() + 1, 0);
  for (int i = 0; i < picks; ++i) ++first[step.picks.ids[i] + 1];
  for (size_t e = 0; e < experts.size(); ++e) first[e + 1] += first[e];
  for (int i = 0; i < picks; ++i) buffers.row_of_pick[i] = first[step.picks.ids[i]]++;
  for (size_t e = experts.size(); e > 0; --e) first[e] = first[e - 1];
  first[0] = 0;
}

void MixtureFfn::Gather(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const {
  const MixtureBuffers& buffers = workspace.mixture;
  const size_t width = router.projection.depth();
  pool.For(step.input.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
    for (int64_t pick = first * router.top_k; pick < end * router.top_k; ++pick) {
      const float* x = step.input.x + pick / router.top_k * step.input.stride;
      std::copy_n(x, width, buffers.gathered + buffers.row_of_pick[pick] * width);
    }
  });
}

void MixtureFfn::Combine(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const {
  const MixtureBuffers& buffers = workspace.mixture;
  const size_t width = router.projection.depth();
  pool.For(step.input.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
    for (int64_t token = first; token < end; ++token) {
      float* y = step.residual + token * width;
      const int64_t pick = token * router.top_k;
      // The experts' sum first, then one rounding into the residual, as a dense layer has it: with
      // identical experts and gates that sum to one, the bits can be those of the dense layer.
      for (size_t i = 0; i < width; ++i) {
        float sum = 0;
        for (int k = 0; k < router.top_k; ++k) {
          sum = std::fma(step.picks.weights[pick + k],
                         buffers.outputs[buffers.row_of_pick[pick + k] * width + i], sum);
        }
        y[i] += sum;
      }
    }
  });
}

}  // namespace peerage::nn
