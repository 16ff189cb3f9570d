#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/config/model_config.h"
#include "model/nn/plan/attention_plan.h"
#include "model/nn/plan/feed_forward_plan.h"
#include "model/nn/plan/product_key_plan.h"

namespace peerage::nn {

using FeedForwardPlan = std::variant<DenseFfnPlan, MixtureFfnPlan, PeerPlan, ProductKeyMemoryPlan>;

// One transformer layer on the residual stream x, its parts in the order in which they run:
//
//   sequential (Llama):  h = x + attention(norm1(x));  y = h + ffn(norm2(h))
//   parallel (BAM):      u = norm(x);  y = x + attention(u) + ffn(u)
//
// where ffn is the sum of the layer's feed-forward parts.
struct BlockPlan {
  NormPlan input_norm;
  AnyAttentionPlan attention;
  std::optional<NormPlan> post_attention_norm;  // absent: parallel
  std::vector<FeedForwardPlan> ffn;

  // Calls visit(part) for attention and every feed-forward part, in the order in which a token
  // meets them.
  template <typename Visitor>
  void ForEachPart(const Visitor& visit) const {
    std::visit(visit, attention);
    for (const FeedForwardPlan& part : ffn) std::visit(visit, part);
  }

  uint64_t Flops(int64_t context) const;
  uint64_t KvValues() const;  // that one token leaves in the cache
  int HeadDim() const;
};

// What a model is made of, in the order in which a token meets it:
//
//   x = embedding[token];  x = block_l(x) for every layer;  logits = W_head norm(x)
struct ModelPlan {
  int vocab_size = 0;
  int hidden_size = 0;
  int max_positions = 0;
  PlannedTensor embedding;  // [vocab, hidden]
  std::vector<BlockPlan> blocks;
  NormPlan final_norm;
  std::optional<PlannedTensor> head;  // absent: tied to the embedding

  // Every tensor, embedding first, then layer by layer, norm and head last.
  std::vector<PlannedTensor> Tensors() const;
  // In the order in which a token meets them.
  std::vector<ExpertLayer> ExpertLayers() const;
  uint64_t Parameters() const;        // elements of all tensors
  uint64_t ActiveParameters() const;  // less the experts that one token does not select
  uint64_t KvValues() const;          // that one token leaves in the caches of all layers
  BufferWidths Buffers() const;
};

// Precondition: the config came from a parser, so that its values are in range.
ModelPlan PlanModel(const ModelConfig& config);

}  // namespace peerage::nn
