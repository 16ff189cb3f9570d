#include "model/nn/cuda/attention.h"

#include <algorithm>
#include <cmath>

namespace peerage::nn::cuda {
namespace {

constexpr int kBlocksThatFillADevice = 1024;
constexpr size_t kMostSplitFloats = size_t{64} << 20;

int SplitsOf(int context) {
  return (context + kernels::cuda::kSplitTokens - 1) / kernels::cuda::kSplitTokens;
}

}  // namespace

Attention Attention::Place(const AttentionPlan& plan, WeightPlacer& placer) {
  Attention attention;
  attention.qkv_ = placer.Linear(plan.qkv);
  attention.output_ = placer.Linear(plan.output);
  attention.shape_ = {.heads = plan.heads,
                      .kv_heads = plan.kv_heads,
                      .head_dim = plan.head_dim,
                      .scale = 1.0f / std::sqrt(static_cast<float>(plan.head_dim))};
  attention.interleaved_ = plan.rotary.interleaved;
  attention.angles_ = placer.RotaryAngles(plan.rotary);
  return attention;
}

void Attention::Forward(StepContext& step, const Activations& u, const kernels::cuda::KvView& kv,
                        const float* head_gates) const {
  const Workspace& buffers = step.workspace;
  const auto qkv_width = static_cast<size_t>(qkv_.outputs());
  cuda::Forward(qkv_, step, u, step.tokens(), {.y = buffers.qkv, .stride = qkv_width});
  step.Launch(kernels::cuda::RotateAndStore, {.shape = shape_,
                                              .interleaved = interleaved_,
                                              .angles = angles_,
                                              .qkv = buffers.qkv,
                                              .cache = kv,
                                              .positions = step.arrays.positions,
                                              .blocks = step.arrays.blocks,
                                              .count = step.tokens()});
  Attend(step, kv, head_gates);
  AddToResidual(output_, step, step.Rows(buffers.attended, query_width()));
}

// Sequences that decode have their splits side by side also beside a prompt whose rows alone fill
// the device: else the step would wait for the longest of them.
void Attention::Attend(StepContext& step, const kernels::cuda::KvView& kv,
                       const float* head_gates) const {
  const StepShape& shape = step.shape;
  const bool apart = shape.decodes > 0 && SplitsOfRows(step, shape.decodes) > 0 &&
                     SplitsOfRows(step, shape.tokens) == 0;
  const int decodes = apart ? shape.decodes : 0;
  if (apart) Attend(step, kv, head_gates, {.first = 0, .count = decodes, .rows = decodes});
  Attend(step, kv, head_gates,
         {.first = decodes, .count = shape.items - decodes, .rows = shape.tokens});
}

void Attention::Attend(StepContext& step, const kernels::cuda::KvView& kv, const float* head_gates,
                       const Items& items) const {
  step.Launch(kernels::cuda::Attention, {.shape = shape_,
                                         .q = step.workspace.qkv,
                                         .q_stride = static_cast<size_t>(qkv_.outputs()),
                                         .cache = kv,
                                         .block_table = step.arrays.block_table,
                                         .max_blocks = step.shape.max_blocks,
                                         .items = step.arrays.items + items.first,
                                         .num_items = items.count,
                                         .head_gates = head_gates,
                                         .out = step.workspace.attended,
                                         .out_type = step.activations,
                                         .splits = SplitsOfRows(step, items.rows),
                                         .count = items.rows,
                                         .partials = reinterpret_cast<float*>(step.Scratch())});
}

int Attention::SplitsOfRows(const StepContext& step, int rows) const {
  return SplitsFor(shape_, rows, step.shape.max_blocks * kernels::cuda::kBlockTokens);
}

void Attention::RaiseNeeds(LayerNeeds& needs) const {
  cuda::RaiseNeeds(qkv_, needs.tokens, needs);
  cuda::RaiseNeeds(output_, needs.tokens, needs);
  needs.RaiseScratch(MostPartialFloats(shape_, needs.tokens, needs.positions) * sizeof(float));
}

size_t MostPartialFloats(const kernels::cuda::AttentionShape& shape, int tokens, int context) {
  const int rows = std::min(tokens, kBlocksThatFillADevice / shape.kv_heads);
  const int splits = SplitsOf(context);
  if (rows == 0 || splits <= 1) return 0;
  return std::min(kernels::cuda::AttentionPartialFloats(shape, rows, splits), kMostSplitFloats);
}

int SplitsFor(const kernels::cuda::AttentionShape& shape, int tokens, int context) {
  const int splits = SplitsOf(context);
  if (splits <= 1 || tokens > kBlocksThatFillADevice / shape.kv_heads) return 0;
  const size_t partials = kernels::cuda::AttentionPartialFloats(shape, tokens, splits);
  return partials > kMostSplitFloats ? 0 : splits;
}

}  // namespace peerage::nn::cuda
