#include "model/nn/attention.h"

#include <algorithm>

#include "model/kernels/rotary.h"

namespace peerage::nn {

using kernels::AttentionItem;

namespace {

void ClearOutput(const kernels::AttentionArgs& args, const AttentionItem& item) {
  const size_t width = size_t(args.shape.heads) / args.shape.kv_heads * args.shape.head_dim;
  for (int t = 0; t < item.tokens; ++t) {
    std::fill_n(args.out + (item.row + t) * args.out_stride + item.kv_head * width, width, 0.0f);
  }
}

}  // namespace

void Attention::Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const {
  const int tokens = step.batch.size();
  const size_t qkv_stride = qkv.outputs();
  qkv.Forward(pool, step.input, {.y = workspace.qkv, .stride = qkv_stride});

  pool.For(tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
    for (int64_t t = first; t < end; ++t) {
      RotateAndStore(step.batch, workspace.qkv, step.kv, static_cast<int>(t));
    }
  });

  const kernels::AttentionArgs args{.shape = shape,
                                    .q = workspace.qkv,
                                    .q_stride = qkv_stride,
                                    .kv = step.kv.data,
                                    .block_stride = step.kv.block_stride,
                                    .out = workspace.attended,
                                    .out_stride = static_cast<size_t>(query_width())};
  const absl::Span<const AttentionItem> items = step.batch.attention_items();
  const int64_t kv_heads = shape.kv_heads;
  pool.For(static_cast<int64_t>(items.size()) * kv_heads, 1, [&](int64_t first, int64_t end, int) {
    for (int64_t i = first; i < end; ++i) {
      AttentionItem item = items[i / kv_heads];
      item.kv_head = static_cast<int>(i % kv_heads);
      if (IsGatedOff(step.head_gates, item)) {
        ClearOutput(args, item);
      } else {
        kernels::Attention(args, item);
      }
    }
  });

  const Activations attended{.x = workspace.attended,
                             .stride = static_cast<size_t>(query_width()),
                             .panels = workspace.panels,
                             .tokens = tokens};
  pool.For(tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
    if (step.head_gates != nullptr) {
      for (int64_t t = first; t < end; ++t) {
        ApplyGates(step.head_gates, workspace.attended, static_cast<int>(t));
      }
    }
    output.PrepareInput(attended, static_cast<int>(first), static_cast<int>(end));
  });
  output.Forward(pool, attended,
                 {.y = step.residual,
                  .stride = static_cast<size_t>(output.outputs()),
                  .epilogue = kernels::Epilogue::kAdd});
}

void Attention::RotateAndStore(const StepBatch& batch, float* qkv_rows, const KvLayer& kv,
                               int token) const {
  float* q = qkv_rows + size_t(token) * qkv.outputs();
  float* k = q + query_width();
  const float* v = k + kv_width();
  kernels::RotaryArgs rotary{.x = q,
                             .heads = shape.heads,
                             .head_dim = shape.head_dim,
                             .interleaved = rope_interleaved,
                             .cos = batch.cos(token),
                             .sin = batch.sin(token)};
  kernels::Rotate(rotary);
  rotary.x = k;
  rotary.heads = shape.kv_heads;
  kernels::Rotate(rotary);
  const StepBatch::Token& at = batch.tokens()[token];
  kernels::StoreKv({.shape = shape,
                    .block = kv.data + at.block * kv.block_stride,
                    .position = at.position,
                    .k = k,
                    .v = v});
}

bool Attention::IsGatedOff(const float* head_gates, const AttentionItem& item) const {
  if (head_gates == nullptr) return false;
  const int group = shape.heads / shape.kv_heads;
  for (int t = 0; t < item.tokens; ++t) {
    const float* gates = head_gates + size_t(item.row + t) * shape.heads + item.kv_head * group;
    if (std::any_of(gates, gates + group, [](float gate) { return gate != 0; })) return false;
  }
  return true;
}

void Attention::ApplyGates(const float* head_gates, float* attended, int token) const {
  float* row = attended + size_t(token) * query_width();
  for (int h = 0; h < shape.heads; ++h) {
    const float gate = head_gates[size_t(token) * shape.heads + h];
    for (int i = 0; i < shape.head_dim; ++i) row[h * shape.head_dim + i] *= gate;
  }
}

}  // namespace peerage::nn
