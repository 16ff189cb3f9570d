#include "model/nn/block.h"

namespace peerage::nn {

void Block::Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const {
  const size_t width = input_norm.width;
  const Activations u{.x = workspace.normed,
                      .stride = width,
                      .panels = workspace.panels,
                      .tokens = step.batch.size()};
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
  attention.Forward(
      pool, workspace,
      {.batch = step.batch, .input = u, .kv = step.kv, .residual = workspace.residual});
  if (!parallel) normalize(post_attention_norm);
  const auto retrieve = [&](const auto& layer) {
    layer.Forward(pool, workspace,
                  {.input = u,
                   .residual = workspace.residual,
                   .picks = step.counters.picks(layer.expert_layer)});
    step.counters.Count(pool, layer.expert_layer, u.tokens);
  };
  for (const FeedForward& part : ffn) {
    if (const auto* dense = std::get_if<DenseFfn>(&part)) {
      prepare(dense->gate_up);
      dense->Forward(pool, workspace, u, workspace.residual);
    } else if (const auto* peer = std::get_if<Peer>(&part)) {
      retrieve(*peer);
    } else {
      retrieve(std::get<ProductKeyMemory>(part));
    }
  }
}

}  // namespace peerage::nn
