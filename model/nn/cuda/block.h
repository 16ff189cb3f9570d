#pragma once

#include <concepts>
#include <optional>
#include <variant>
#include <vector>

#include "model/nn/cuda/attention.h"
#include "model/nn/cuda/dense_ffn.h"
#include "model/nn/cuda/mixture_attention.h"
#include "model/nn/cuda/mixture_ffn.h"
#include "model/nn/cuda/norm.h"
#include "model/nn/cuda/peer.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn::cuda {

// What a feed-forward part is on a CUDA device. Besides, each has `static Part Place(plan,
// placer)`, which says where its weights lie.
template <typename Part>
concept FeedForwardPart = requires(const Part& layer, StepContext& step, const Activations& u,
                                   LayerNeeds& needs) {
  layer.Route(step, u);     // what can be done as soon as u is there, before attention runs
  layer.Forward(step, u);   // adds to the residual
  layer.RaiseNeeds(needs);  // to what its launches need
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
  static Block Place(const BlockPlan& plan, WeightPlacer& placer);

  void Forward(StepContext& step, const kernels::cuda::KvView& kv) const;
  void RaiseNeeds(LayerNeeds& needs) const;

 private:
  // What mixtures can do as soon as u is there.
  void Route(StepContext& step, const Activations& u) const;

  Norm input_norm_;
  AnyAttention attention_;
  std::optional<Norm> post_attention_norm_;  // absent: parallel
  std::vector<FeedForward> ffn_;
};

}  // namespace peerage::nn::cuda
