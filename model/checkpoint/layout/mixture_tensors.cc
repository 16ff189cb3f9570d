#include "model/checkpoint/layout/mixture_tensors.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

enum Matrix { kGate, kUp, kDown };

constexpr absl::string_view kPeerageMatrices[] = {"gate_proj.weight", "up_proj.weight",
                                                  "down_proj.weight"};
constexpr absl::string_view kMixtralMatrices[] = {"w1.weight", "w3.weight", "w2.weight"};

// Tensors of all experts: [experts, 2 * width, hidden], an expert's gate rows before its up rows,
// and [experts, hidden, width].
constexpr absl::string_view kPackedGateUp = "mlp.experts.gate_up_proj";
constexpr absl::string_view kPackedDown = "mlp.experts.down_proj";

TensorSpec AsNamed(std::string name, std::vector<int64_t> shape,
                   TensorRole role = TensorRole::kMatrix) {
  return {.name = name, .shape = shape, .role = role, .parts = {{name, shape}}};
}

class FfnTensors {
 public:
  FfnTensors(const ModelConfig& config, const FfnConfig& ffn, TensorNaming naming)
      : experts_(ffn.mixture.num_experts),
        width_(ffn.intermediate_size),
        hidden_(config.hidden_size),
        naming_(naming) {}

  TensorSpec Router() const {
    TensorSpec spec =
        AsNamed("ffn.mixture.router.weight", {experts_, hidden_}, TensorRole::kRouter);
    if (naming_ == TensorNaming::kMixtral) spec.parts[0].name = "block_sparse_moe.gate.weight";
    if (naming_ == TensorNaming::kMixtralPacked) spec.parts[0].name = "mlp.gate.weight";
    return spec;
  }

  TensorSpec Expert(int64_t expert, Matrix matrix) const {
    TensorSpec spec =
        AsNamed(absl::StrCat("ffn.mixture.experts.", expert, ".", kPeerageMatrices[matrix]),
                matrix == kDown ? Shape{hidden_, width_} : Shape{width_, hidden_});
    if (naming_ == TensorNaming::kMixtral) {
      spec.parts[0].name =
          absl::StrCat("block_sparse_moe.experts.", expert, ".", kMixtralMatrices[matrix]);
    }
    if (naming_ == TensorNaming::kMixtralPacked) {
      spec.parts[0] = matrix == kDown ? PackedDown() : PackedGateUp();
      const int64_t before = matrix == kDown ? expert : 2 * expert + matrix;
      spec.transform = PartSlice{before * width_ * hidden_};
    }
    return spec;
  }

 private:
  using Shape = std::vector<int64_t>;

  StoredPart PackedGateUp() const {
    return {std::string(kPackedGateUp), {experts_, 2 * width_, hidden_}};
  }
  StoredPart PackedDown() const { return {std::string(kPackedDown), {experts_, hidden_, width_}}; }

  const int64_t experts_;
  const int64_t width_;
  const int64_t hidden_;
  const TensorNaming naming_;
};

}  // namespace

std::vector<TensorSpec> MixtureAttentionTensors(const ModelConfig& config,
                                                const AttentionConfig& attention) {
  const int64_t hidden = config.hidden_size, experts = attention.mixture.num_experts;
  const int64_t query_rows = int64_t{config.num_heads} * config.head_dim;
  const int64_t key_rows = int64_t{config.num_kv_heads} * config.head_dim;
  const bool shared_kv = attention.kv == MixtureKv::kShared;
  std::vector<TensorSpec> specs;
  const auto add_keys_and_values = [&](const std::string& prefix) {
    specs.push_back(AsNamed(prefix + "k_proj.weight", {key_rows, hidden}));
    specs.push_back(AsNamed(prefix + "v_proj.weight", {key_rows, hidden}));
  };
  specs.push_back(AsNamed("attention.router.weight", {experts, hidden}, TensorRole::kRouter));
  for (int64_t e = 0; e < experts; ++e) {
    const std::string expert = absl::StrCat("attention.experts.", e, ".");
    specs.push_back(AsNamed(expert + "q_proj.weight", {query_rows, hidden}));
    if (!shared_kv) add_keys_and_values(expert);
    specs.push_back(AsNamed(expert + "o_proj.weight", {hidden, query_rows}));
  }
  if (shared_kv) add_keys_and_values("attention.");
  return specs;
}

std::vector<TensorSpec> MixtureFfnTensors(const ModelConfig& config, const FfnConfig& ffn,
                                          TensorNaming naming) {
  const FfnTensors tensors(config, ffn, naming);
  std::vector<TensorSpec> specs = {tensors.Router()};
  for (int e = 0; e < ffn.mixture.num_experts; ++e) {
    for (const Matrix matrix : {kGate, kUp, kDown}) specs.push_back(tensors.Expert(e, matrix));
  }
  return specs;
}

bool HoldsPackedExperts(absl::string_view name) {
  return absl::EndsWith(name, kPackedGateUp) || absl::EndsWith(name, kPackedDown);
}

}  // namespace peerage
