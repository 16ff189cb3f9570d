#pragma once

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

using AnyAttention = std::variant<Attention, MixtureAttention>;
using FeedForward = std::variant<DenseFfn, MixtureFfn, Peer, ProductKeyMemory>;

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
