#include "tests/support/mixture_models.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace peerage {

AttentionConfig SoftAttention(int experts, MixtureKv kv) {
  return {.kind = AttentionKind::kMixture,
          .kv = kv,
          .mixture = {.num_experts = experts, .top_k = experts}};
}

AttentionConfig TopKAttention(AttentionConfig soft, int top_k, bool normalize) {
  soft.mixture.top_k = top_k;
  soft.mixture.normalize_top_k = normalize;
  return soft;
}

MixtureFfnConfig MixtureFfnPart(int experts, int top_k, bool normalize) {
  return MixtureFfnConfig{
      .intermediate_size = 96,
      .mixture = {.num_experts = experts, .top_k = top_k, .normalize_top_k = normalize}};
}

ModelConfig MixtureModel(const AttentionConfig& attention, const FfnConfig& ffn) {
  ModelConfig config = SmallConfig();
  for (LayerConfig& layer : config.layers) {
    layer.attention = attention;
    layer.ffn = {ffn};
  }
  return config;
}

void CopyCommon(const MemoryCheckpoint& from, MemoryCheckpoint& to) {
  for (const TensorInfo& tensor : from.tensors()) {
    const TensorInfo* other = to.Find(tensor.name);
    if (other == nullptr || other->shape != tensor.shape) continue;
    to.values(tensor.name) = from.values(tensor.name);
  }
}

void CopyExpert(const MemoryCheckpoint& dense, int expert, MemoryCheckpoint& mixture) {
  const std::string own = absl::StrCat("experts.", expert, ".");
  for (const TensorInfo& tensor : dense.tensors()) {
    const std::string name = absl::StrReplaceAll(
        tensor.name, {{"attention.", "attention." + own}, {"ffn.dense.", "ffn.mixture." + own}});
    if (mixture.Find(name) != nullptr) mixture.values(name) = dense.values(tensor.name);
  }
}

void MakeFirstValueConstant(MemoryCheckpoint& checkpoint) {
  const size_t width = checkpoint.config().hidden_size;
  std::vector<float>& embedding = checkpoint.values("model.embed_tokens.weight");
  for (size_t first = 0; first < embedding.size(); first += width) {
    double squares = 0;
    for (size_t i = 1; i < width; ++i) squares += std::pow(embedding[first + i], 2);
    const double scale = std::sqrt((width - 1) / squares);
    for (size_t i = 1; i < width; ++i) embedding[first + i] *= static_cast<float>(scale);
    embedding[first] = 1;
  }
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    std::vector<float>& values = checkpoint.values(tensor.name);
    if (absl::EndsWith(tensor.name, "input_norm.weight")) values[0] = 1;
    if (absl::EndsWith(tensor.name, "o_proj.weight") ||
        absl::EndsWith(tensor.name, "down_proj.weight")) {
      std::fill_n(values.begin(), tensor.shape[1], 0.0f);
    }
  }
}

void ShiftLogit(MemoryCheckpoint& checkpoint, const std::string& router, int expert, float shift) {
  const size_t width = checkpoint.config().hidden_size;
  // The block's input has the first value 1 / sqrt(1 + epsilon).
  checkpoint.values("model.layers.0." + router + "router.weight")[expert * width] +=
      shift * std::sqrt(1 + checkpoint.config().norm_eps);
}

}  // namespace peerage
