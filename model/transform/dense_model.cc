#include "model/transform/dense_model.h"

#include "absl/strings/str_cat.h"

namespace peerage::transform {

absl::Status CheckDense(const ModelConfig& config) {
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    if (layer.attention.kind != AttentionKind::kDense || layer.ffn.size() != 1 ||
        !std::holds_alternative<DenseFfnConfig>(layer.ffn.front())) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", i, " is not dense"));
    }
    if (layer.ffn != config.layers.front().ffn) {
      return absl::InvalidArgumentError(
          absl::StrCat("layer ", i, " has another intermediate_size than layer 0"));
    }
  }
  return absl::OkStatus();
}

int DenseWidth(const ModelConfig& config) {
  return std::get<DenseFfnConfig>(config.layers.front().ffn.front()).intermediate_size;
}

}  // namespace peerage::transform
