#include "model/nn/block.h"

namespace peerage::nn {
namespace {

// One step through one block: what its layers share.
class BlockStep {
 public:
  BlockStep(kernels::ThreadPool& pool, Workspace& workspace, const Block::Step& step)
      : pool_(pool),
        workspace_(workspace),
        step_(step),
        u_{.x = workspace.normed, .panels = workspace.panels, .tokens = step.batch.size()} {}

  // Makes u, which the layers read.
  void Normalize(const Norm& norm) {
    u_.stride = norm.width;
    pool_.For(u_.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
      norm.Forward({.x = workspace_.residual, .y = workspace_.normed, .stride = u_.stride},
                   static_cast<int>(first), static_cast<int>(end));
    });
  }

  // What mixtures can do as soon as u is there. (A product-key router works token by token with its
  // experts, without a barrier in between.)
  void Route(const std::vector<FeedForward>& ffn) {
    for (const FeedForward& part : ffn) {
      const auto* mixture = std::get_if<MixtureFfn>(&part);
      if (mixture == nullptr) continue;
      mixture->Route(pool_, workspace_, u_, PicksOf(*mixture));
      Count(*mixture);
    }
  }

  void Run(const Attention& layer) {
    Prepare(layer.qkv);
    layer.Forward(pool_, workspace_, attention_step());
  }

  void Run(const MixtureAttention& layer) {
    Prepare(layer.wide.qkv);
    layer.Forward(pool_, workspace_, attention_step(), PicksOf(layer));
    Count(layer);
  }

  void Run(const DenseFfn& layer) {
    Prepare(layer.gate_up);
    layer.Forward(pool_, workspace_, u_, workspace_.residual);
  }

  void Run(const MixtureFfn& layer) {
    layer.Forward(pool_, workspace_,
                  {.input = u_, .residual = workspace_.residual, .picks = PicksOf(layer)});
  }

  template <typename RetrievingLayer>  // Peer, ProductKeyMemory
  void Run(const RetrievingLayer& layer) {
    layer.Forward(pool_, workspace_,
                  {.input = u_, .residual = workspace_.residual, .picks = PicksOf(layer)});
    Count(layer);
  }

 private:
  // Panels are shared by all layers, so each prepares its own, even of the same u.
  void Prepare(const LinearLayer& layer) {
    pool_.For(u_.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
      layer.PrepareInput(u_, static_cast<int>(first), static_cast<int>(end));
    });
  }

  Attention::Step attention_step() const {
    return {.batch = step_.batch, .input = u_, .kv = step_.kv, .residual = workspace_.residual};
  }

  template <typename ExpertLayer>
  PickBuffer PicksOf(const ExpertLayer& layer) const {
    return step_.counters.picks(layer.expert_layer);
  }

  template <typename ExpertLayer>
  void Count(const ExpertLayer& layer) {
    step_.counters.Count(pool_, layer.expert_layer, u_.tokens);
  }

  kernels::ThreadPool& pool_;
  Workspace& workspace_;
  const Block::Step& step_;
  Activations u_;
};

}  // namespace

void Block::Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const {
  BlockStep block(pool, workspace, step);
  const auto run = [&](const auto& layer) { block.Run(layer); };
  block.Normalize(input_norm);
  if (parallel) block.Route(ffn);  // before attention runs
  std::visit(run, attention);
  if (!parallel) {
    block.Normalize(post_attention_norm);
    block.Route(ffn);
  }
  for (const FeedForward& part : ffn) std::visit(run, part);
}

}  // namespace peerage::nn
