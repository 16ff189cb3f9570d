#include "model/transform/convert/gguf_keys.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/tokenizer/tokenizer_conversion.h"
#include "model/transform/dense_model.h"

namespace peerage::transform {
namespace {

// The version of ggml's quantised blocks.
constexpr uint64_t kBlockLayouts = 2;

// Adds keys that are not there yet.
class KeyWriter {
 public:
  void Integer(std::string key, uint64_t value) { Add(std::move(key), GgufType::kUint32, value); }
  void Number(std::string key, double value) { Add(std::move(key), GgufType::kFloat32, value); }
  void Bool(std::string key, bool value) { Add(std::move(key), GgufType::kBool, value); }
  void String(std::string key, std::string value) {
    Add(std::move(key), GgufType::kString, std::move(value));
  }
  void Strings(std::string key, std::vector<std::string> values) {
    Add(std::move(key), GgufType::kArray, std::move(values));
  }
  void Int32s(std::string key, const std::vector<int32_t>& values) {
    GgufNumbers numbers{.type = GgufType::kInt32};
    for (const int32_t value : values) {
      for (int shift = 0; shift < 32; shift += 8) {
        numbers.bytes.push_back(static_cast<uint8_t>(static_cast<uint32_t>(value) >> shift));
      }
    }
    Add(std::move(key), GgufType::kArray, std::move(numbers));
  }

  GgufMetadata Take() { return std::move(keys_); }

 private:
  template <typename T>
  void Add(std::string key, GgufType type, T value) {
    [[maybe_unused]] const bool is_new =
        keys_.Insert(std::move(key), GgufValue{type, std::move(value)});
  }

  GgufMetadata keys_;
};

void WriteSizes(const ModelConfig& config, KeyWriter& keys) {
  keys.String("general.architecture", "llama");
  keys.Integer("llama.vocab_size", config.vocab_size);
  keys.Integer("llama.context_length", config.max_positions);
  keys.Integer("llama.embedding_length", config.hidden_size);
  keys.Integer("llama.block_count", config.layers.size());
  keys.Integer("llama.feed_forward_length", DenseWidth(config));
  keys.Integer("llama.attention.head_count", config.num_heads);
  keys.Integer("llama.attention.head_count_kv", config.num_kv_heads);
  keys.Integer("llama.attention.key_length", config.head_dim);
  keys.Integer("llama.attention.value_length", config.head_dim);
  keys.Integer("llama.rope.dimension_count", config.head_dim);
  keys.Number("llama.rope.freq_base", config.rope_theta);
  keys.Number("llama.attention.layer_norm_rms_epsilon", config.norm_eps);
}

void WriteTokenizer(GgufTokenizer tokenizer, KeyWriter& keys) {
  keys.String("tokenizer.ggml.model", std::move(tokenizer.model));
  keys.String("tokenizer.ggml.pre", std::move(tokenizer.pre));
  keys.Strings("tokenizer.ggml.tokens", std::move(tokenizer.tokens));
  if (!tokenizer.token_types.empty()) {
    keys.Int32s("tokenizer.ggml.token_type", tokenizer.token_types);
  }
  keys.Strings("tokenizer.ggml.merges", std::move(tokenizer.merges));
  const auto add_id = [&](const char* key, std::optional<TokenId> id) {
    if (id.has_value()) keys.Integer(key, *id);
  };
  add_id("tokenizer.ggml.bos_token_id", tokenizer.bos_id);
  add_id("tokenizer.ggml.eos_token_id", tokenizer.eos_id);
  add_id("tokenizer.ggml.eot_token_id", tokenizer.eot_id);
  add_id("tokenizer.ggml.eom_token_id", tokenizer.eom_id);
  add_id("tokenizer.ggml.unknown_token_id", tokenizer.unknown_id);
  add_id("tokenizer.ggml.padding_token_id", tokenizer.padding_id);
  if (tokenizer.add_bos.has_value()) keys.Bool("tokenizer.ggml.add_bos_token", *tokenizer.add_bos);
  if (tokenizer.chat_template.has_value()) {
    keys.String("tokenizer.chat_template", *std::move(tokenizer.chat_template));
  }
}

absl::StatusOr<GgufTokenizer> TokenizerFieldsOf(const TokenizerSource& source) {
  if (source.gguf.has_value()) return *source.gguf;
  return GgufFieldsOf(source);
}

absl::Status CheckSayable(const ModelConfig& config) {
  if (config.activation != Activation::kSilu) {
    return absl::UnimplementedError("hidden_act is not silu, which a GGUF file cannot say");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufMetadata> GgufKeysOf(const Checkpoint& checkpoint, bool has_quantized_tensors) {
  const ModelConfig& config = checkpoint.config();
  RETURN_IF_ERROR(CheckSayable(config));
  ASSIGN_OR_RETURN(GgufTokenizer tokenizer, TokenizerFieldsOf(checkpoint.tokenizer()));
  KeyWriter keys;
  WriteSizes(config, keys);
  if (has_quantized_tensors) keys.Integer("general.quantization_version", kBlockLayouts);
  WriteTokenizer(std::move(tokenizer), keys);
  return keys.Take();
}

}  // namespace peerage::transform
