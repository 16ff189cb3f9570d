#include "model/nn/block.h"

namespace peerage::nn {

void Block::Forward(kernels::ThreadPool& pool, Workspace& workspace, const StepBatch& batch,
                    const KvLayer& kv) const {
  const size_t width = input_norm.width;
  const Activations u{
      .x = workspace.normed, .stride = width, .panels = workspace.panels, .tokens = batch.size()};
  const auto normalize = [&](const Norm& norm) {
    pool.For(u.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
      norm.Forward({.x = workspace.residual, .y = workspace.normed, .stride = width},
                   static_cast<int>(first), static_cast<int>(end));
    });
  };
  // Panels are shared by all layers, so each prepares its own, even of the same u.
  const auto prepare = [&](const LinearLayer& layer) {
    pool.For(u.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
      layer.PrepareInput(u, static_cast<int>(first), static_cast<int>(end));
    });
  };

  normalize(input_norm);
  prepare(attention.qkv);
  attention.Forward(pool, workspace,
                    {.batch = batch, .input = u, .kv = kv, .residual = workspace.residual});
  if (!parallel) normalize(post_attention_norm);
  for (const DenseFfn& part : ffn) {
    prepare(part.gate_up);
    part.Forward(pool, workspace, u, workspace.residual);
  }
}

}  // namespace peerage::nn
