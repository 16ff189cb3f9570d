#include "model/checkpoint/parameter_count.h"

#include <algorithm>

#include "model/checkpoint/tensor_layout.h"

namespace peerage {
namespace {

uint64_t UnselectedParameters(const FfnConfig& ffn, int64_t hidden_size) {
  if (ffn.kind == FfnKind::kDense) return 0;
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
    for (const FfnConfig& ffn : layer.ffn) {
      count.active -= UnselectedParameters(ffn, config.hidden_size);
    }
  }
  return count;
}

}  // namespace peerage
