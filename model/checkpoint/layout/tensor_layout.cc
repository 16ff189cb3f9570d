#include "model/checkpoint/layout/tensor_layout.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/checkpoint/layout/mixtral_names.h"
#include "model/checkpoint/layout/peer_layout.h"
#include "model/nn/plan/model_plan.h"

namespace peerage {
namespace {

constexpr absl::string_view kLayers = "model.layers.";
constexpr absl::string_view kPeer = "ffn.peer.";
constexpr absl::string_view kHead = "lm_head.weight";

// What other files call a canonical tensor; names of layers without the prefix of the layer.
struct OtherNames {
  absl::string_view canonical;
  absl::string_view llama;
  absl::string_view gguf;
};

constexpr OtherNames kOtherNames[] = {
    {"model.embed_tokens.weight", "model.embed_tokens.weight", "token_embd.weight"},
    {"input_norm.weight", "input_layernorm.weight", "attn_norm.weight"},
    {"attention.q_proj.weight", "self_attn.q_proj.weight", "attn_q.weight"},
    {"attention.k_proj.weight", "self_attn.k_proj.weight", "attn_k.weight"},
    {"attention.v_proj.weight", "self_attn.v_proj.weight", "attn_v.weight"},
    {"attention.o_proj.weight", "self_attn.o_proj.weight", "attn_output.weight"},
    {"post_attention_norm.weight", "post_attention_layernorm.weight", "ffn_norm.weight"},
    {"ffn.dense.gate_proj.weight", "mlp.gate_proj.weight", "ffn_gate.weight"},
    {"ffn.dense.up_proj.weight", "mlp.up_proj.weight", "ffn_up.weight"},
    {"ffn.dense.down_proj.weight", "mlp.down_proj.weight", "ffn_down.weight"},
    {"model.norm.weight", "model.norm.weight", "output_norm.weight"},
    {kHead, kHead, "output.weight"},
};

std::string OtherName(absl::string_view canonical, absl::string_view OtherNames::*naming) {
  for (const OtherNames& names : kOtherNames) {
    if (names.canonical == canonical) return std::string(names.*naming);
  }
  return std::string(canonical);
}

// A canonical name, taken apart.
struct CanonicalName {
  std::optional<size_t> layer;
  absl::string_view rest;  // after "model.layers.0."
};

CanonicalName TakeApart(absl::string_view name) {
  CanonicalName parts{.rest = name};
  size_t layer = 0;
  if (!absl::ConsumePrefix(&name, kLayers)) return parts;
  const size_t digits = name.find('.');
  if (digits == name.npos || !absl::SimpleAtoi(name.substr(0, digits), &layer)) return parts;
  return {layer, name.substr(digits + 1)};
}

// The part of a layer that is of kind `peer`; null when there is none.
const PeerConfig* PeerOf(const ModelConfig& config, size_t layer) {
  if (layer >= config.layers.size()) return nullptr;
  for (const FfnConfig& part : config.layers[layer].ffn) {
    if (const auto* peer = std::get_if<PeerConfig>(&part)) return peer;
  }
  return nullptr;
}

// Finds what a canonical tensor is made of in files of one naming.
class NamesInFile {
 public:
  NamesInFile(const ModelConfig& config, TensorNaming naming) : config_(config), naming_(naming) {}

  TensorSpec SpecOf(nn::PlannedTensor tensor) const {
    const CanonicalName name = TakeApart(tensor.name);
    TensorSpec spec{.name = std::string(name.rest), .shape = tensor.shape, .role = tensor.role};
    spec.parts = {{spec.name, spec.shape}};
    Store(name, spec);
    if (name.layer.has_value()) {
      const absl::string_view layers = naming_ == TensorNaming::kGguf ? "blk." : kLayers;
      for (StoredPart& part : spec.parts) {
        part.name = absl::StrCat(layers, *name.layer, ".", part.name);
      }
    }
    spec.name = std::move(tensor.name);
    return spec;
  }

 private:
  void Store(const CanonicalName& name, TensorSpec& spec) const {
    switch (naming_) {
      case TensorNaming::kPeerage:
        return StoreAsPeerage(name, spec);
      case TensorNaming::kLlama:
      case TensorNaming::kMixtral:
      case TensorNaming::kMixtralPacked:
        spec.parts[0].name = OtherName(name.rest, &OtherNames::llama);
        return mixtral().StoreIn(name.rest, spec);
      case TensorNaming::kGguf:
        spec.parts[0].name = OtherName(name.rest, &OtherNames::gguf);
        return StoreAsGguf(name.rest, spec);
    }
  }

  // Of PEER's other layouts.
  void StoreAsPeerage(const CanonicalName& name, TensorSpec& spec) const {
    if (!name.layer.has_value() || !absl::StartsWith(name.rest, kPeer)) return;
    spec.name = std::string(absl::StripPrefix(name.rest, kPeer));
    spec.parts.clear();
    spec = StoredIn(*PeerOf(config_, *name.layer), std::move(spec));
    for (StoredPart& part : spec.parts) part.name = absl::StrCat(kPeer, part.name);
  }

  // A GGUF's rows 2i and 2i + 1 of a head are its rows i and i + head_dim/2.
  void StoreAsGguf(absl::string_view name, TensorSpec& spec) const {
    const bool query = name == "attention.q_proj.weight";
    if (!query && name != "attention.k_proj.weight") return;
    spec.transform = AxisSwap{.outer = query ? config_.num_heads : config_.num_kv_heads,
                              .stored_first = config_.head_dim / 2,
                              .stored_second = 2};
  }

  MixtralNames mixtral() const {
    const auto* mixture = std::get_if<MixtureFfnConfig>(&config_.layers.front().ffn.front());
    return {.packed = naming_ == TensorNaming::kMixtralPacked,
            .num_experts = mixture == nullptr ? 0 : mixture->mixture.num_experts};
  }

  const ModelConfig& config_;
  const TensorNaming naming_;
};

bool IsIgnoredOfLlama(const ModelConfig& config, absl::string_view name) {
  if (config.tied_embeddings && name == kHead) return true;
  return absl::StartsWith(name, kLayers) && absl::EndsWith(name, ".rotary_emb.inv_freq");
}

bool IsIgnoredOfPeer(const ModelConfig& config, absl::string_view stored) {
  const CanonicalName name = TakeApart(stored);
  if (!name.layer.has_value() || !absl::StartsWith(name.rest, kPeer)) return false;
  const PeerConfig* peer = PeerOf(config, *name.layer);
  return peer != nullptr && IsIgnored(peer->layout, absl::StripPrefix(name.rest, kPeer));
}

}  // namespace

std::vector<TensorSpec> TensorLayout(const ModelConfig& config, TensorNaming naming) {
  const NamesInFile names(config, naming);
  std::vector<TensorSpec> specs;
  for (nn::PlannedTensor& tensor : nn::PlanModel(config).Tensors()) {
    specs.push_back(names.SpecOf(std::move(tensor)));
  }
  return specs;
}

bool IsIgnored(const ModelConfig& config, TensorNaming naming, absl::string_view name) {
  switch (naming) {
    case TensorNaming::kPeerage:
      return (config.tied_embeddings && name == kHead) || IsIgnoredOfPeer(config, name);
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
