#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/tensor_type.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/pattern_bytes.h"
#include "tests/support/safetensors_builder.h"

namespace peerage {

// The smallest models with every tensor: vocab 8, hidden 32, two heads of 16, one KV head, one
// layer, intermediate size 64; untied.
inline constexpr char kSmallLlamaConfig[] = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
  "vocab_size": 8, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
  "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
  "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2})";

inline constexpr char kSmallPeerageConfig[] = R"({
  "architectures": ["PeerageForCausalLM"], "model_type": "peerage", "format_version": 1,
  "vocab_size": 8, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
  "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64})";

// A tokenizer of four of the eight ids.
inline constexpr char kSmallTokenizerJson[] = R"({
  "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3}, "merges": ["a b"]}})";

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};

inline std::vector<NamedShape> SmallLlamaTensors() {
  return {{"model.embed_tokens.weight", {8, 32}},
          {"model.layers.0.input_layernorm.weight", {32}},
          {"model.layers.0.self_attn.q_proj.weight", {32, 32}},
          {"model.layers.0.self_attn.k_proj.weight", {16, 32}},
          {"model.layers.0.self_attn.v_proj.weight", {16, 32}},
          {"model.layers.0.self_attn.o_proj.weight", {32, 32}},
          {"model.layers.0.post_attention_layernorm.weight", {32}},
          {"model.layers.0.mlp.gate_proj.weight", {64, 32}},
          {"model.layers.0.mlp.up_proj.weight", {64, 32}},
          {"model.layers.0.mlp.down_proj.weight", {32, 64}},
          {"model.norm.weight", {32}},
          {"lm_head.weight", {8, 32}}};
}

inline std::vector<NamedShape> SmallPeerageTensors() {
  return {{"model.embed_tokens.weight", {8, 32}},
          {"model.layers.0.input_norm.weight", {32}},
          {"model.layers.0.attention.q_proj.weight", {32, 32}},
          {"model.layers.0.attention.k_proj.weight", {16, 32}},
          {"model.layers.0.attention.v_proj.weight", {16, 32}},
          {"model.layers.0.attention.o_proj.weight", {32, 32}},
          {"model.layers.0.post_attention_norm.weight", {32}},
          {"model.layers.0.ffn.dense.gate_proj.weight", {64, 32}},
          {"model.layers.0.ffn.dense.up_proj.weight", {64, 32}},
          {"model.layers.0.ffn.dense.down_proj.weight", {32, 64}},
          {"model.norm.weight", {32}},
          {"lm_head.weight", {8, 32}}};
}

// The tensors as f32, each with bytes of its own.
inline std::string SafetensorsOf(const std::vector<NamedShape>& tensors) {
  SafetensorsBuilder builder;
  unsigned seed = 0;
  for (const auto& [name, shape] : tensors) {
    builder.Add(name, "F32", shape, PatternBytes(4 * Elements(shape), ++seed));
  }
  return builder.Build();
}

// The keys of the same model in GGUF, without a tokenizer.
inline GgufBuilder SmallGgufShape() {
  GgufBuilder builder;
  builder.String("general.architecture", "llama")
      .Uint32("llama.block_count", 1)
      .Uint32("llama.context_length", 64)
      .Uint32("llama.embedding_length", 32)
      .Uint32("llama.feed_forward_length", 64)
      .Uint32("llama.attention.head_count", 2)
      .Uint32("llama.attention.head_count_kv", 1)
      .Float32("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .Uint32("llama.rope.dimension_count", 16);
  return builder;
}

// With a tokenizer of 8 tokens.
inline GgufBuilder SmallGgufKeys() {
  GgufBuilder builder = SmallGgufShape();
  builder.String("tokenizer.ggml.model", "gpt2")
      .String("tokenizer.ggml.pre", "smollm")
      .Strings("tokenizer.ggml.tokens", {"a", "b", "c", "d", "e", "f", "g", "h"})
      .Strings("tokenizer.ggml.merges", {"a b"})
      .Uint32("tokenizer.ggml.bos_token_id", 1)
      .Uint32("tokenizer.ggml.eos_token_id", 2);
  return builder;
}

// Adds every tensor but the head: norms f32, matrices q8_0. Row r of the query projection holds
// blocks of bytes that begin with r.
inline GgufBuilder& AddSmallGgufTensors(GgufBuilder& builder) {
  constexpr uint32_t kF32 = 0, kQ8_0 = 8;
  const auto quantised = [](size_t rows, size_t columns) {
    std::string bytes;
    for (size_t row = 0; row < rows; ++row) {
      for (size_t block = 0; block < columns / 32; ++block) {
        bytes += static_cast<char>(row) + PatternBytes(33, static_cast<unsigned>(row));
      }
    }
    return bytes;
  };
  const std::string norm = PatternBytes(32 * 4);
  builder.Tensor("token_embd.weight", {32, 8}, kQ8_0, quantised(8, 32))
      .Tensor("blk.0.attn_norm.weight", {32}, kF32, norm)
      .Tensor("blk.0.attn_q.weight", {32, 32}, kQ8_0, quantised(32, 32))
      .Tensor("blk.0.attn_k.weight", {32, 16}, kQ8_0, quantised(16, 32))
      .Tensor("blk.0.attn_v.weight", {32, 16}, kQ8_0, quantised(16, 32))
      .Tensor("blk.0.attn_output.weight", {32, 32}, kQ8_0, quantised(32, 32))
      .Tensor("blk.0.ffn_norm.weight", {32}, kF32, norm)
      .Tensor("blk.0.ffn_gate.weight", {32, 64}, kQ8_0, quantised(64, 32))
      .Tensor("blk.0.ffn_up.weight", {32, 64}, kQ8_0, quantised(64, 32))
      .Tensor("blk.0.ffn_down.weight", {64, 32}, kQ8_0, quantised(32, 64))
      .Tensor("output_norm.weight", {32}, kF32, norm);
  return builder;
}

}  // namespace peerage
