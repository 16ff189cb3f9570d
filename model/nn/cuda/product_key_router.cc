#include "model/nn/cuda/product_key_router.h"

#include <string>
#include <vector>

#include "model/kernels/controlled_picks_cuda.h"
#include "model/kernels/expert_counting_cuda.h"
#include "model/kernels/norm_cuda.h"

namespace peerage::nn::cuda {
namespace {

LinearLayer PlaceQuery(const ProductKeyRouterPlan& plan, WeightPlacer& placer) {
  const std::string bias = plan.bias.has_value() ? plan.bias->name : "";
  if (plan.norm.has_value() && plan.norm->running.has_value()) {
    return placer.FoldedRouter(plan.query.name, bias, *plan.norm);
  }
  return placer.Router(plan.query.name, bias);
}

}  // namespace

ProductKeyRouter ProductKeyRouter::Place(const ProductKeyRouterPlan& plan, WeightPlacer& placer) {
  const ProductKeyConfig& config = plan.config;
  ProductKeyRouter router;
  router.query = PlaceQuery(plan, placer);
  if (plan.norm.has_value() && !plan.norm->running.has_value()) {
    router.layer_norm = {.weight = placer.RouterVector(plan.norm->weight.name),
                         .bias = placer.RouterVector(plan.norm->bias.name),
                         .epsilon = plan.norm->epsilon};
  }
  if (plan.sub_keys.has_value()) router.keys = placer.SubKeySets(plan.sub_keys->name);
  router.shape = {
      .heads = static_cast<int>(config.heads),
      .top_k = static_cast<int>(config.top_k),
      .num_sub_keys = static_cast<int>(config.num_sub_keys),
      .half_width = router.keys.width,
      .sets = router.keys.sets,
      .head_offset = config.per_head_experts ? static_cast<uint32_t>(config.num_experts) : 0,
      .score = config.score};
  router.expert_layer = plan.expert_layer;
  return router;
}

void ProductKeyRouter::Forward(StepContext& step, const Activations& input) const {
  const PickBuffer picks = step.counters.picks(expert_layer);
  cuda::Forward(query, step, input, step.tokens(),
                {.y = step.workspace.queries, .stride = static_cast<size_t>(query.outputs())});
  if (layer_norm.weight != nullptr) NormalizeQueries(step);
  const kernels::cuda::SelectExpertsArgs select{.shape = shape,
                                                .queries = step.workspace.queries,
                                                .sub_keys = keys.data,
                                                .sub_key_type = keys.type,
                                                .positions = step.arrays.positions,
                                                .ids = picks.ids,
                                                .weights = picks.weights,
                                                .count = step.tokens(),
                                                .scratch = step.Scratch()};
  step.Launch(kernels::cuda::SelectExperts, select);
  step.Launch(
      kernels::cuda::ControlPicks,
      {.select = select, .controls = step.ControlsOf(expert_layer), .scratch = step.Scratch()});
}

void ProductKeyRouter::NormalizeQueries(StepContext& step) const {
  const int width = query.outputs() / shape.heads;
  step.Launch(kernels::cuda::Norm, {.layer_norm = true,
                                    .x = step.workspace.queries,
                                    .x_stride = static_cast<size_t>(width),
                                    .weight = layer_norm.weight,
                                    .bias = layer_norm.bias,
                                    .y = step.workspace.queries,
                                    .y_type = DeviceFloat::kF32,
                                    .y_stride = static_cast<size_t>(width),
                                    .epsilon = layer_norm.epsilon,
                                    .count = step.tokens() * shape.heads,
                                    .width = width});
}

void ProductKeyRouter::Count(StepContext& step, size_t record_bytes) const {
  if (!step.counters.is_counting()) return;
  step.Launch(kernels::cuda::ObserveRouter, {.shape = shape,
                                             .queries = step.workspace.queries,
                                             .sub_keys = keys.data,
                                             .sub_key_type = keys.type,
                                             .ids = step.counters.picks(expert_layer).ids,
                                             .positions = step.arrays.positions,
                                             .count = step.tokens(),
                                             .totals = step.counters.totals(expert_layer),
                                             .scratch = reinterpret_cast<float*>(step.Scratch())});
  step.Count(expert_layer, record_bytes);
}

void ProductKeyRouter::RaiseNeeds(LayerNeeds& needs) const {
  cuda::RaiseNeeds(query, needs.tokens, needs);
  needs.RaiseScratch(kernels::cuda::SelectScratchBytes(shape, needs.tokens));
  needs.RaiseScratch(kernels::cuda::ControlScratchBytes(shape, needs.tokens));
  needs.RaiseScratch(kernels::cuda::ObserveScratchFloats(shape, needs.tokens) * sizeof(float));
}

}  // namespace peerage::nn::cuda
