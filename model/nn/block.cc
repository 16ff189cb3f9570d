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

  const auto count = [&](int expert_layer) { step.counters.Count(pool, expert_layer, u.tokens); };
  const Attention::Step attend{
      .batch = step.batch, .input = u, .kv = step.kv, .residual = workspace.residual};

  // Mixtures know their experts as soon as u is there, in a parallel block before attention runs;
  // a product-key router works token by token with its experts, without a barrier in between.
  const auto route = [&] {
    for (const FeedForward& part : ffn) {
      const auto* mixture = std::get_if<MixtureFfn>(&part);
      if (mixture == nullptr) continue;
      mixture->Route(pool, workspace, u, step.counters.picks(mixture->expert_layer));
      count(mixture->expert_layer);
    }
  };

  normalize(input_norm);
  if (parallel) route();
  if (const auto* dense = std::get_if<Attention>(&attention)) {
    prepare(dense->qkv);
    dense->Forward(pool, workspace, attend);
  } else {
    const auto& mixture = std::get<MixtureAttention>(attention);
    prepare(mixture.wide.qkv);
    mixture.Forward(pool, workspace, attend, step.counters.picks(mixture.expert_layer));
    count(mixture.expert_layer);
  }
  if (!parallel) {
    normalize(post_attention_norm);
    route();
  }
  const auto pick_experts = [&](const auto& layer) {
    layer.Forward(pool, workspace,
                  {.input = u,
                   .residual = workspace.residual,
                   .picks = step.counters.picks(layer.expert_layer)});
    count(layer.expert_layer);
  };
  for (const FeedForward& part : ffn) {
    if (const auto* dense = std::get_if<DenseFfn>(&part)) {
      prepare(dense->gate_up);
      dense->Forward(pool, workspace, u, workspace.residual);
    } else if (const auto* mixture = std::get_if<MixtureFfn>(&part)) {
      mixture->Forward(pool, workspace,
                       {.input = u,
                        .residual = workspace.residual,
                        .picks = step.counters.picks(mixture->expert_layer)});
    } else if (const auto* peer = std::get_if<Peer>(&part)) {
      pick_experts(*peer);
    } else {
      pick_experts(std::get<ProductKeyMemory>(part));
    }
  }
}

}  // namespace peerage::nn
