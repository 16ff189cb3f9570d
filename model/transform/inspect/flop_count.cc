#include "model/transform/inspect/flop_count.h"

namespace peerage::transform {
namespace {

// Of an attention mixture, keys and values of every expert are computed; queries, scores and
// outputs of the selected ones count.
int64_t AttentionFlops(const ModelConfig& config, const AttentionConfig& attention,
                       int64_t context) {
  const int64_t hidden = config.hidden_size;
  const int64_t query = int64_t{config.num_heads} * config.head_dim;
  const int64_t key = int64_t{config.num_kv_heads} * config.head_dim;
  const bool mixture = attention.kind == AttentionKind::kMixture;
  const int64_t selected = mixture ? attention.mixture.top_k : 1;
  const int64_t router = mixture ? 2 * hidden * attention.mixture.num_experts : 0;
  return router + 2 * hidden * (selected * 2 * query + attention.num_kv_experts() * 2 * key) +
         2 * context * selected * query;
}

int64_t RouterFlops(const ProductKeyConfig& config, int64_t hidden_size) {
  const int64_t heads = config.heads, n = config.num_sub_keys;
  if (config.keys == ProductKeys::kDirect) return 2 * heads * 2 * n * hidden_size;
  const int64_t query = 2 * heads * hidden_size * config.key_dim;
  const int64_t scores = 2 * heads * n * config.key_dim;  // both halves
  return query + scores;
}

int64_t FfnFlops(const FfnConfig& ffn, int64_t hidden_size) {
  const int64_t dense = 2 * 3 * hidden_size * ffn.intermediate_size;
  if (ffn.kind == FfnKind::kDense) return dense;
  if (ffn.kind == FfnKind::kMixture) {
    return 2 * hidden_size * ffn.mixture.num_experts + ffn.mixture.top_k * dense;
  }
  const ProductKeyConfig& config = ffn.product_keys;
  const int vectors = ffn.kind == FfnKind::kProductKeyMemory ? 1 : config.glu ? 3 : 2;
  const int64_t picks = int64_t{config.heads} * config.top_k;
  return RouterFlops(config, hidden_size) + 2 * picks * vectors * hidden_size;
}

}  // namespace

uint64_t LayerFlops(const ModelConfig& config, const LayerConfig& layer, int64_t context) {
  int64_t flops = AttentionFlops(config, layer.attention, context);
  for (const FfnConfig& ffn : layer.ffn) flops += FfnFlops(ffn, config.hidden_size);
  return static_cast<uint64_t>(flops);
}

}  // namespace peerage::transform
