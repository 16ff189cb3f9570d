// Model directories of `model_type: "mixtral"`, under both namings of their experts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "tests/support/pattern_bytes.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kInputs = 32, kInner = 64;
constexpr int kExperts = 3;

absl::StatusOr<ModelConfig> ParseMixtral(const char* patch,
                                         std::vector<std::string>* ignored = nullptr) {
  json text = json::parse(kSmallLlamaConfig);
  text.merge_patch(json::parse(R"({"architectures": ["MixtralForCausalLM"],
      "model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2,
      "sliding_window": null, "router_aux_loss_coef": 0.02, "router_jitter_noise": 0.1,
      "output_router_logits": false})"));
  text.merge_patch(json::parse(patch));
  return ParseModelConfig(text.dump(), ignored);
}

TEST(MixtralConfigTest, IsAMixtureInEveryLayerWithNormalisedGates) {
  std::vector<std::string> ignored;

  const auto config = ParseMixtral(R"({"num_hidden_layers": 2})", &ignored);

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "mixtral");
  EXPECT_EQ(config->norm_eps, 1e-5f);
  ASSERT_EQ(config->layers.size(), 2u);
  for (const LayerConfig& layer : config->layers) {
    EXPECT_EQ(layer.attention.kind, AttentionKind::kDense);
    ASSERT_EQ(layer.ffn.size(), 1u);
    const auto* ffn = std::get_if<MixtureFfnConfig>(&layer.ffn[0]);
    ASSERT_NE(ffn, nullptr);
    EXPECT_EQ(ffn->intermediate_size, kInner);
    EXPECT_EQ(ffn->mixture.num_experts, kExperts);
    EXPECT_EQ(ffn->mixture.top_k, 2);
    EXPECT_TRUE(ffn->mixture.normalize_top_k);
  }
  EXPECT_THAT(ignored, ElementsAre("architectures", "output_router_logits", "router_aux_loss_coef",
                                   "router_jitter_noise", "torch_dtype"));
}

TEST(MixtralConfigTest, TakesTheLibrarysDefaultsForAbsentKeys) {
  const auto config = ParseMixtral(R"({"rope_theta": null, "rms_norm_eps": null})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_theta, 1e6f);
  EXPECT_EQ(config->norm_eps, 1e-5f);

  const auto parameters =
      ParseMixtral(R"({"rope_theta": null, "rope_parameters": {"rope_theta": 5e5}})");
  ASSERT_TRUE(parameters.ok()) << parameters.status();
  EXPECT_EQ(parameters->rope_theta, 5e5f);
}

TEST(MixtralConfigTest, RefusesWhatItDoesNotComputeByName) {
  struct {
    const char* patch;
    const char* error;
  } const kConfigs[] = {
      {R"({"num_local_experts": null})", "num_local_experts is missing"},
      {R"({"num_local_experts": 0})", "num_local_experts is 0, not within 1..256"},
      {R"({"num_experts_per_tok": null})", "num_experts_per_tok is missing"},
      {R"({"num_experts_per_tok": 4})", "num_experts_per_tok is 4, not within 1..3"},
      {R"({"num_key_value_heads": null})", "num_key_value_heads is missing"},
      {R"({"sliding_window": 4096})", "sliding_window is 4096, which is not supported"},
      {R"({"attention_bias": true})", "attention_bias"},
      {R"({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}})", "rope_scaling.rope_type"},
      {R"({"hidden_act": "mish"})", "hidden_act is \"mish\""},
  };
  for (const auto& [patch, error] : kConfigs) {
    const auto config = ParseMixtral(patch);
    EXPECT_FALSE(config.ok()) << patch;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(error)) << patch;
  }
}

struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::string bytes;
};

// Small numbers: NaN would be refused.
std::string RouterBytes() { return std::string(4 * kExperts * kInputs, '\x3c'); }

// An expert's matrix, canonical or one of Mixtral's own: its bytes say which it is.
std::string MatrixBytes(int expert, int matrix) {
  return PatternBytes(4 * kInner * kInputs, static_cast<unsigned>(100 + 3 * expert + matrix));
}

std::vector<NamedTensor> Backbone() {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, shape] : SmallLlamaTensors()) {
    if (name.find(".mlp.") != std::string::npos) continue;
    tensors.push_back({name, shape, PatternBytes(4 * Elements(shape), 1)});
  }
  return tensors;
}

constexpr char kLayer[] = "model.layers.0.";

std::vector<NamedTensor> ApartTensors() {
  std::vector<NamedTensor> tensors = Backbone();
  const std::string moe = std::string(kLayer) + "block_sparse_moe.";
  tensors.push_back({moe + "gate.weight", {kExperts, kInputs}, RouterBytes()});
  for (int e = 0; e < kExperts; ++e) {
    const std::string expert = moe + "experts." + std::to_string(e) + ".";
    tensors.push_back({expert + "w1.weight", {kInner, kInputs}, MatrixBytes(e, 0)});
    tensors.push_back({expert + "w3.weight", {kInner, kInputs}, MatrixBytes(e, 1)});
    tensors.push_back({expert + "w2.weight", {kInputs, kInner}, MatrixBytes(e, 2)});
  }
  return tensors;
}

std::vector<NamedTensor> PackedTensors() {
  std::vector<NamedTensor> tensors = Backbone();
  const std::string mlp = std::string(kLayer) + "mlp.";
  std::string gate_up, down;
  for (int e = 0; e < kExperts; ++e) {
    gate_up += MatrixBytes(e, 0) + MatrixBytes(e, 1);
    down += MatrixBytes(e, 2);
  }
  tensors.push_back({mlp + "gate.weight", {kExperts, kInputs}, RouterBytes()});
  tensors.push_back({mlp + "experts.gate_up_proj", {kExperts, 2 * kInner, kInputs}, gate_up});
  tensors.push_back({mlp + "experts.down_proj", {kExperts, kInputs, kInner}, down});
  return tensors;
}

class MixtralDirectory {
 public:
  explicit MixtralDirectory(const std::vector<NamedTensor>& tensors) {
    json text = json::parse(kSmallLlamaConfig);
    text["model_type"] = "mixtral";
    text["num_local_experts"] = kExperts;
    text["num_experts_per_tok"] = 2;
    directory_.Write("config.json", text.dump());
    directory_.Write("tokenizer.json", "{}");
    SafetensorsBuilder builder;
    for (const NamedTensor& tensor : tensors) {
      builder.Add(tensor.name, "F32", tensor.shape, tensor.bytes);
    }
    directory_.Write("model.safetensors", builder.Build());
  }

  absl::StatusOr<std::unique_ptr<Checkpoint>> Open() const {
    return OpenCheckpoint(directory_.path());
  }

 private:
  TemporaryDirectory directory_;
};

std::string RowsOf(const Checkpoint& checkpoint, const std::string& name, int64_t first,
                   size_t count) {
  const TensorInfo* tensor = checkpoint.Find(name);
  if (tensor == nullptr) return "no " + name;
  std::string bytes(count * 4 * tensor->shape[1], '\0');
  const absl::Status status = checkpoint.ReadRows(
      *tensor, first, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
  return status.ok() ? bytes : std::string(status.message());
}

class MixtralNamingTest : public ::testing::TestWithParam<bool> {
 protected:
  static std::vector<NamedTensor> Tensors() {
    return GetParam() ? PackedTensors() : ApartTensors();
  }
};

TEST_P(MixtralNamingTest, GivesEveryExpertItsMatrices) {
  const MixtralDirectory directory(Tensors());
  const auto checkpoint = directory.Open();
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();

  const std::string mixture = std::string(kLayer) + "ffn.mixture.";
  EXPECT_EQ(RowsOf(**checkpoint, mixture + "router.weight", 0, kExperts), RouterBytes());
  const char* const kMatrices[] = {"gate_proj", "up_proj", "down_proj"};
  for (int e = 0; e < kExperts; ++e) {
    for (int m = 0; m < 3; ++m) {
      const std::string name =
          mixture + "experts." + std::to_string(e) + "." + kMatrices[m] + ".weight";
      SCOPED_TRACE(name);
      const TensorInfo* tensor = (*checkpoint)->Find(name);
      ASSERT_NE(tensor, nullptr);
      std::string bytes(tensor->bytes, '\0');
      ASSERT_TRUE((*checkpoint)
                      ->Read(*tensor,
                             absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()))
                      .ok());
      EXPECT_EQ(bytes, MatrixBytes(e, m));
      const size_t row = 4 * tensor->shape[1];
      EXPECT_EQ(RowsOf(**checkpoint, name, 5, 2), MatrixBytes(e, m).substr(5 * row, 2 * row));
      EXPECT_THAT(RowsOf(**checkpoint, name, tensor->shape[0] - 1, 2), HasSubstr("rows of"));
    }
  }
}

TEST_P(MixtralNamingTest, NamesWhatIsMissing) {
  const std::vector<NamedTensor> all = Tensors();
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<NamedTensor> tensors = all;
    tensors.erase(tensors.begin() + i);
    const MixtralDirectory directory(tensors);
    // Without one of the packed tensors, the other says what the naming is.
    EXPECT_THAT(std::string(directory.Open().status().message()),
                HasSubstr("tensor \"" + all[i].name + "\": is missing"));
  }
}

TEST_P(MixtralNamingTest, RefusesAnotherShapeAndARouterThatIsNotFinite) {
  std::vector<NamedTensor> tensors = Tensors();
  std::swap(tensors.back().shape[0], tensors.back().shape[1]);
  EXPECT_THAT(std::string(MixtralDirectory(tensors).Open().status().message()),
              HasSubstr(tensors.back().name + "\": shape ["));

  tensors = Tensors();
  for (NamedTensor& tensor : tensors) {
    if (tensor.shape[0] == kExperts && tensor.shape.size() == 2) {
      tensor.bytes.replace(0, 4, std::string("\0\0\xc0\x7f", 4));
    }
  }
  const MixtralDirectory directory(tensors);
  const auto checkpoint = directory.Open();
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(RowsOf(**checkpoint, std::string(kLayer) + "ffn.mixture.router.weight", 0, 1),
              HasSubstr("gate.weight\": a router's tensor holds a NaN"));
}

INSTANTIATE_TEST_SUITE_P(Namings, MixtralNamingTest, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Packed" : "Apart"; });

TEST(MixtralNamingsTest, AreNotMixed) {
  std::vector<NamedTensor> tensors = PackedTensors();
  tensors.push_back(ApartTensors().back());
  EXPECT_THAT(std::string(MixtralDirectory(tensors).Open().status().message()),
              HasSubstr("experts.2.w2.weight\": the model has no such tensor"));
}

}  // namespace
}  // namespace peerage
