#include "model/checkpoint/layout/parameter_count.h"

#include <algorithm>

#include "model/checkpoint/layout/tensor_layout.h"

namespace peerage {
namespace {

int64_t Unselected(const MixtureConfig& mixture) { return mixture.num_experts - mixture.top_k; }

// Keys and values of every expert are computed for every token, whoever attends to them.
uint64_t UnselectedParameters(const ModelConfig& config, const AttentionConfig& attention) {
  if (attention.kind == AttentionKind::kDense) return 0;
  const int64_t width = int64_t{config.num_heads} * config.head_dim;
  return Unselected(attention.mixture) * 2 * width * config.hidden_size;
}

uint64_t UnselectedParameters(const FfnConfig& ffn, int64_t hidden_size) {
  if (ffn.kind == FfnKind::kDense) return 0;
  if (ffn.kind == FfnKind::kMixture) {
    return Unselected(ffn.mixture) * 3 * ffn.intermediate_size * hidden_size;
  }
  const ProductKeyConfig& config = ffn.product_keys;
  const int tables = ffn.kind == FfnKind::kProductKeyMemory ? 1 : config.glu ? 3 : 2;
  return (config.table_rows() - SelectedExperts(config)) * tables * hidden_size;
}

}  // namespace

int64_t SelectedExperts(const ProductKeyConfig& config) {
  return std::min(int64_t{config.heads} * config.top_k, config.table_rows());
}

ParameterCount CountParameters(const ModelConfig& config) {
  ParameterCount count;
  for (const TensorSpec& spec : TensorLayout(config, TensorNaming::kPeerage)) {
    uint64_t elements = 1;
    for (const int64_t dimension : spec.shape) elements *= dimension;
    count.total += elements;
  }
  count.active = count.total;
  for (const LayerConfig& layer : config.layers) {
    count.active -= UnselectedParameters(config, layer.attention);
    for (const FfnConfig& ffn : layer.ffn) {
      count.active -= UnselectedParameters(ffn, config.hidden_size);
    }
  }
  return count;
}

}  // namespace peerage
