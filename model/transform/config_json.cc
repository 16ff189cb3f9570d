#include "model/transform/config_json.h"

#include <string>

#include "base/choice.h"
#include "base/number_text.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/config/choices.h"
#include "model/transform/dense_model.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

// Sizes and tokens, which all kinds of config.json call the same.
ordered_json CommonJson(const ModelConfig& config) {
  ordered_json json = {{"vocab_size", config.vocab_size},
                       {"hidden_size", config.hidden_size},
                       {"intermediate_size", DenseWidth(config)},
                       {"num_hidden_layers", config.layers.size()},
                       {"num_attention_heads", config.num_heads},
                       {"num_key_value_heads", config.num_kv_heads},
                       {"head_dim", config.head_dim},
                       {"max_position_embeddings", config.max_positions},
                       {"rope_theta", ShortestDecimal(config.rope_theta)},
                       {"tie_word_embeddings", config.tied_embeddings}};
  if (config.bos_id.has_value()) json["bos_token_id"] = *config.bos_id;
  if (config.eos_ids.size() == 1) json["eos_token_id"] = config.eos_ids.front();
  if (config.eos_ids.size() > 1) json["eos_token_id"] = config.eos_ids;
  return json;
}

const char* HuggingFaceActivation(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_pytorch_tanh";
    case Activation::kRelu:
      return "relu";
  }
  return "";
}

const char* TorchName(TensorType dtype) {
  return dtype == TensorType::kF32 ? "float32" : dtype == TensorType::kF16 ? "float16" : "bfloat16";
}

}  // namespace

ordered_json PeerageConfigJson(const ModelConfig& config) {
  ordered_json json = {
      {"architectures", {"PeerageForCausalLM"}}, {"model_type", "peerage"}, {"format_version", 1}};
  json.update(CommonJson(config));
  json["hidden_act"] = std::string(ChoiceName(kActivations, config.activation));
  json["norm_type"] = config.norm_type == NormType::kRmsNorm ? "rmsnorm" : "layernorm";
  json["norm_eps"] = ShortestDecimal(config.norm_eps);
  json["rope_interleaved"] = config.rope_interleaved;
  json["parallel_block"] = config.parallel_block;
  return json;
}

ordered_json LlamaConfigJson(const ModelConfig& config, TensorType dtype) {
  ordered_json json = {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}};
  json.update(CommonJson(config));
  json["hidden_act"] = HuggingFaceActivation(config.activation);
  json["rms_norm_eps"] = ShortestDecimal(config.norm_eps);
  json["torch_dtype"] = TorchName(dtype);
  return json;
}

absl::StatusOr<std::string> WithDtype(const std::string& config_json, TensorType dtype) {
  RETURN_IF_ERROR(ParseStrictJson(config_json).status());
  ordered_json config = ordered_json::parse(config_json);
  bool changed = false;
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (!config.contains(key) || config[key] == TorchName(dtype)) continue;
    config[key] = TorchName(dtype);
    changed = true;
  }
  return changed ? config.dump(2) + "\n" : config_json;
}

}  // namespace peerage::transform
