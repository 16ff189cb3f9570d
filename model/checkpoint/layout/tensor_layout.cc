#include "model/checkpoint/layout/tensor_layout.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/checkpoint/layout/mixture_tensors.h"
#include "model/checkpoint/layout/peer_layout.h"
#include "model/checkpoint/layout/product_key_tensors.h"

namespace peerage {
namespace {

struct Names {
  absl::string_view embedding;
  absl::string_view final_norm;
  absl::string_view head;
  absl::string_view layer_prefix;  // before the layer's index
  absl::string_view input_norm;
  absl::string_view query;
  absl::string_view key;
  absl::string_view value;
  absl::string_view output;
  absl::string_view post_attention_norm;
  absl::string_view gate;
  absl::string_view up;
  absl::string_view down;
};

constexpr Names kPeerageNames{
    .embedding = "model.embed_tokens.weight",
    .final_norm = "model.norm.weight",
    .head = "lm_head.weight",
    .layer_prefix = "model.layers.",
    .input_norm = "input_norm.weight",
    .query = "attention.q_proj.weight",
    .key = "attention.k_proj.weight",
    .value = "attention.v_proj.weight",
    .output = "attention.o_proj.weight",
    .post_attention_norm = "post_attention_norm.weight",
    .gate = "ffn.dense.gate_proj.weight",
    .up = "ffn.dense.up_proj.weight",
    .down = "ffn.dense.down_proj.weight",
};

constexpr Names kLlamaNames{
    .embedding = "model.embed_tokens.weight",
    .final_norm = "model.norm.weight",
    .head = "lm_head.weight",
    .layer_prefix = "model.layers.",
    .input_norm = "input_layernorm.weight",
    .query = "self_attn.q_proj.weight",
    .key = "self_attn.k_proj.weight",
    .value = "self_attn.v_proj.weight",
    .output = "self_attn.o_proj.weight",
    .post_attention_norm = "post_attention_layernorm.weight",
    .gate = "mlp.gate_proj.weight",
    .up = "mlp.up_proj.weight",
    .down = "mlp.down_proj.weight",
};

constexpr Names kGgufNames{
    .embedding = "token_embd.weight",
    .final_norm = "output_norm.weight",
    .head = "output.weight",
    .layer_prefix = "blk.",
    .input_norm = "attn_norm.weight",
    .query = "attn_q.weight",
    .key = "attn_k.weight",
    .value = "attn_v.weight",
    .output = "attn_output.weight",
    .post_attention_norm = "ffn_norm.weight",
    .gate = "ffn_gate.weight",
    .up = "ffn_up.weight",
    .down = "ffn_down.weight",
};

constexpr const Names& NamesOf(TensorNaming naming) {
  switch (naming) {
    case TensorNaming::kPeerage:
      return kPeerageNames;
    case TensorNaming::kLlama:
    case TensorNaming::kMixtral:
    case TensorNaming::kMixtralPacked:
      return kLlamaNames;
    case TensorNaming::kGguf:
      return kGgufNames;
  }
  return kPeerageNames;
}

// After a layer's index.
constexpr absl::string_view kPeer = ".ffn.peer.";
constexpr absl::string_view kPkm = ".ffn.pkm.";

// Writes the table of docs/model_format.md, each tensor under both of its names.
class LayoutWriter {
 public:
  LayoutWriter(const ModelConfig& config, TensorNaming naming)
      : config_(config), naming_(naming), stored_(NamesOf(naming)) {}

  std::vector<TensorSpec> Write() {
    Add(&Names::embedding, {config_.vocab_size, config_.hidden_size});
    for (const LayerConfig& layer : config_.layers) WriteLayer(layer);
    layer_ = -1;
    Add(&Names::final_norm, {config_.hidden_size});
    if (!config_.tied_embeddings) Add(&Names::head, {config_.vocab_size, config_.hidden_size});
    return std::move(specs_);
  }

 private:
  void WriteLayer(const LayerConfig& layer) {
    ++layer_;
    const int64_t hidden = config_.hidden_size;
    Add(&Names::input_norm, {hidden});
    if (layer.attention.kind == AttentionKind::kDense) {
      WriteAttention();
    } else {
      AddOfLayer(MixtureAttentionTensors(config_, layer.attention));
    }
    if (!config_.parallel_block) Add(&Names::post_attention_norm, {hidden});
    for (const FfnConfig& ffn : layer.ffn) WriteFfn(ffn);
  }

  void WriteAttention() {
    const int64_t hidden = config_.hidden_size;
    Add(&Names::query, {query_rows(), hidden}).transform = RotaryOrder(config_.num_heads);
    Add(&Names::key, {key_rows(), hidden}).transform = RotaryOrder(config_.num_kv_heads);
    Add(&Names::value, {key_rows(), hidden});
    Add(&Names::output, {hidden, query_rows()});
  }

  void WriteFfn(const FfnConfig& ffn) {
    const int64_t hidden = config_.hidden_size;
    if (ffn.kind == FfnKind::kMixture) return AddOfLayer(MixtureFfnTensors(config_, ffn, naming_));
    if (ffn.kind == FfnKind::kDense) {
      Add(&Names::gate, {ffn.intermediate_size, hidden});
      Add(&Names::up, {ffn.intermediate_size, hidden});
      Add(&Names::down, {hidden, ffn.intermediate_size});
      return;
    }
    const std::string prefix =
        absl::StrCat(kPeerageNames.layer_prefix, layer_, ffn.kind == FfnKind::kPeer ? kPeer : kPkm);
    for (TensorSpec& canonical : ProductKeyTensors(ffn, hidden)) {
      TensorSpec spec = StoredIn(ffn.product_keys, std::move(canonical));
      spec.name = absl::StrCat(prefix, spec.name);
      for (StoredPart& part : spec.parts) part.name = absl::StrCat(prefix, part.name);
      specs_.push_back(std::move(spec));
    }
  }

  // A GGUF's rows 2i and 2i + 1 of a head are its rows i and i + head_dim/2.
  TensorTransform RotaryOrder(int heads) const {
    if (naming_ != TensorNaming::kGguf) return AsStored{};
    return AxisSwap{.outer = heads, .stored_first = config_.head_dim / 2, .stored_second = 2};
  }

  // Names are those after the layer's prefix.
  void AddOfLayer(std::vector<TensorSpec> specs) {
    for (TensorSpec& spec : specs) {
      spec.name = absl::StrCat(kPeerageNames.layer_prefix, layer_, ".", spec.name);
      for (StoredPart& part : spec.parts) {
        part.name = absl::StrCat(stored_.layer_prefix, layer_, ".", part.name);
      }
      specs_.push_back(std::move(spec));
    }
  }

  int64_t query_rows() const { return int64_t{config_.num_heads} * config_.head_dim; }
  int64_t key_rows() const { return int64_t{config_.num_kv_heads} * config_.head_dim; }

  TensorSpec& Add(absl::string_view Names::*field, std::vector<int64_t> shape) {
    const TensorRole role = shape.size() == 1 ? TensorRole::kNorm : TensorRole::kMatrix;
    return specs_.emplace_back(TensorSpec{.name = FullName(kPeerageNames, field),
                                          .shape = shape,
                                          .role = role,
                                          .parts = {{FullName(stored_, field), shape}}});
  }

  std::string FullName(const Names& names, absl::string_view Names::*field) const {
    if (layer_ < 0) return std::string(names.*field);
    return absl::StrCat(names.layer_prefix, layer_, ".", names.*field);
  }

  const ModelConfig& config_;
  const TensorNaming naming_;
  const Names& stored_;
  int layer_ = -1;  // of the tensors being added; -1 outside the layers
  std::vector<TensorSpec> specs_;
};

bool IsIgnoredOfLlama(const ModelConfig& config, absl::string_view name) {
  if (config.tied_embeddings && name == kLlamaNames.head) return true;
  return absl::StartsWith(name, kLlamaNames.layer_prefix) &&
         absl::EndsWith(name, ".rotary_emb.inv_freq");
}

bool IsIgnoredOfPeer(const ModelConfig& config, absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kPeerageNames.layer_prefix)) return false;
  const size_t digits = std::min(name.find('.'), name.size());
  size_t layer = 0;
  if (!absl::SimpleAtoi(name.substr(0, digits), &layer) || layer >= config.layers.size()) {
    return false;
  }
  name.remove_prefix(digits);
  if (!absl::ConsumePrefix(&name, kPeer)) return false;
  const std::vector<FfnConfig>& parts = config.layers[layer].ffn;
  return std::any_of(parts.begin(), parts.end(), [&](const FfnConfig& part) {
    return part.kind == FfnKind::kPeer && IsIgnored(part.product_keys.layout, name);
  });
}

}  // namespace

std::vector<TensorSpec> TensorLayout(const ModelConfig& config, TensorNaming naming) {
  return LayoutWriter(config, naming).Write();
}

bool IsIgnored(const ModelConfig& config, TensorNaming naming, absl::string_view name) {
  switch (naming) {
    case TensorNaming::kPeerage:
      return IsIgnoredOfPeer(config, name);
    case TensorNaming::kLlama:
    case TensorNaming::kMixtral:
    case TensorNaming::kMixtralPacked:
      return IsIgnoredOfLlama(config, name);
    case TensorNaming::kGguf:
      return false;
  }
  return false;
}

}  // namespace peerage
