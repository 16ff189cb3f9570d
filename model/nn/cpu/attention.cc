#include "model/nn/cpu/attention.h"

#include <algorithm>
#include <cmath>

#include "model/kernels/rotary.h"

namespace peerage::nn::cpu {

using kernels::AttentionItem;

namespace {

void ClearOutput(const kernels::AttentionArgs& args, const AttentionItem& item) {
  const size_t width = size_t(args.shape.heads) / args.shape.kv_heads * args.shape.head_dim;
  for (int t = 0; t < item.tokens; ++t) {
    std::fill_n(args.out + (item.row + t) * args.out_stride + item.kv_head * width, width, 0.0f);
  }
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
  attention.rotary_ = plan.rotary;
  return attention;
}

void Attention::Forward(const StepContext& step, const Activations& u, const KvLayer& kv,
                        const float* head_gates) const {
  Workspace& buffers = step.workspace;
  qkv_.PrepareAndForward(step.pool, u,
                         {.y = buffers.qkv, .stride = static_cast<size_t>(qkv_.outputs())});
  RotateAndStore(step, kv);
  Attend(step, kv, head_gates);

  const Activations attended{.x = buffers.attended,
                             .stride = query_width(),
                             .panels = buffers.panels,
                             .tokens = step.tokens()};
  step.ForTokens([&](RowRange rows) {
    if (head_gates != nullptr) ApplyGates(head_gates, buffers.attended, rows);
    output_.Prepare(attended, rows);
  });
  output_.Forward(step.pool, attended, step.AddToResidual(output_.outputs()));
}

void Attention::RotateAndStore(const StepContext& step, const KvLayer& kv) const {
  const StepTables::RotaryAngles& angles = step.tables.angles(rotary_, step.batch);
  step.ForTokens([&](RowRange rows) {
    for (int t = rows.first; t < rows.end; ++t) {
      float* q = step.workspace.qkv + size_t(t) * qkv_.outputs();
      float* k = q + query_width();
      kernels::RotaryArgs rotary{.x = q,
                                 .heads = shape_.heads,
                                 .head_dim = shape_.head_dim,
                                 .interleaved = rotary_.interleaved,
                                 .cos = angles.cos(t),
                                 .sin = angles.sin(t)};
      kernels::Rotate(rotary);
      rotary.x = k;
      rotary.heads = shape_.kv_heads;
      kernels::Rotate(rotary);
      const StepBatch::Token& at = step.batch.tokens()[t];
      kernels::StoreKv({.shape = shape_,
                        .block = kv.data + at.block * kv.block_stride,
                        .position = at.position,
                        .k = k,
                        .v = k + kv_width()});
    }
  });
}

void Attention::Attend(const StepContext& step, const KvLayer& kv, const float* head_gates) const {
  const kernels::AttentionArgs args{.shape = shape_,
                                    .q = step.workspace.qkv,
                                    .q_stride = static_cast<size_t>(qkv_.outputs()),
                                    .kv = kv.data,
                                    .block_stride = kv.block_stride,
                                    .out = step.workspace.attended,
                                    .out_stride = query_width()};
  const absl::Span<const AttentionItem> items = step.tables.attention_items();
  const int64_t kv_heads = shape_.kv_heads;
  const int64_t count = static_cast<int64_t>(items.size()) * kv_heads;
  step.pool.For(count, 1, [&](int64_t first, int64_t end, int) {
    for (int64_t i = first; i < end; ++i) {
      AttentionItem item = items[i / kv_heads];
      item.kv_head = static_cast<int>(i % kv_heads);
      if (IsGatedOff(head_gates, item)) {
        ClearOutput(args, item);
      } else {
        kernels::Attention(args, item);
      }
    }
  });
}

bool Attention::IsGatedOff(const float* head_gates, const AttentionItem& item) const {
  if (head_gates == nullptr) return false;
  const int group = shape_.heads / shape_.kv_heads;
  for (int t = 0; t < item.tokens; ++t) {
    const float* gates =
        head_gates + size_t(item.row + t) * shape_.heads + size_t(item.kv_head) * group;
    if (std::any_of(gates, gates + group, [](float gate) { return gate != 0; })) return false;
  }
  return true;
}

void Attention::ApplyGates(const float* head_gates, float* attended, RowRange rows) const {
  for (int t = rows.first; t < rows.end; ++t) {
    float* row = attended + t * query_width();
    for (int h = 0; h < shape_.heads; ++h) {
      const float gate = head_gates[size_t(t) * shape_.heads + h];
      for (int i = 0; i < shape_.head_dim; ++i) row[h * shape_.head_dim + i] *= gate;
    }
  }
}

}  // namespace peerage::nn::cpu
