#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <variant>
#include <vector>

#include "model/nn/cpu/attention.h"
#include "model/nn/cpu/dense_ffn.h"
#include "model/nn/cpu/mixture_attention.h"
#include "model/nn/cpu/mixture_ffn.h"
#include "model/nn/cpu/norm.h"
#include "model/nn/cpu/peer.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn::cpu {

// What a feed-forward part is on the CPU. Besides, each has `static Part Place(plan, placer)`,
// which says where its weights lie.
template <typename Part>
concept FeedForwardPart = requires(Part part, const Part& layer, const StepContext& step,
                                   const Activations& u, std::vector<LinearLayer*>& order) {
  layer.Route(step, u);       // what can be done as soon as u is there, before attention runs
  layer.Forward(step, u);     // adds to the residual
  part.AppendRouters(order);  // the linear layers that every Route reads whole, in its order
  part.AppendWeights(order);  // and every Forward
  { layer.ScratchBytes() } -> std::convertible_to<size_t>;  // of one thread
};

template <FeedForwardPart... Parts>
using AnyFeedForward = std::variant<Parts...>;

using AnyAttention = std::variant<Attention, MixtureAttention>;
using FeedForward = AnyFeedForward<DenseFfn, MixtureFfn, Peer, ProductKeyMemory>;

// One transformer layer on the residual stream x:
//
//   sequential (Llama):  h = x + attention(norm1(x));  y = h + ffn(norm2(h))
//   parallel (BAM):      u = norm(x);  y = x + attention(u) + ffn(u)
//
// where ffn is the sum of the layer's feed-forward parts.
class Block {
 public:
  static Block Place(const BlockPlan& plan, int layer, WeightPlacer& placer);

  void Forward(const StepContext& step, const KvLayer& kv) const;

  // The linear layers that a step reads whole, in its order.
  void AppendWeights(std::vector<LinearLayer*>& order);
  // The most that one thread needs for any part's experts.
  size_t ScratchBytes() const;

 private:
  // u, which the layers read.
  Activations Normalize(const StepContext& step, const Norm& norm) const;
  // What mixtures can do as soon as u is there.
  void Route(const StepContext& step, const Activations& u) const;
  void Show(const StepContext& step, LayerPart part, const Activations& u) const;

  int layer_ = 0;
  Norm input_norm_;
  AnyAttention attention_;
  std::optional<Norm> post_attention_norm_;  // absent: parallel
  std::vector<FeedForward> ffn_;
};

}  // namespace peerage::nn::cpu
