#include "model/checkpoint/layout/tensor_binding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "model/checkpoint/config/parse_model_config.h"
#include "model/config/model_config.h"
#include "tests/support/small_models.h"

namespace peerage {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelConfig SmallConfig() { return *ParseModelConfig(kSmallLlamaConfig); }

// Stored tensors as the layout asks for them, in another order.
std::vector<StoredTensor> StoredFor(const ModelConfig& config, TensorNaming naming) {
  std::vector<StoredTensor> stored;
  for (const TensorSpec& spec : TensorLayout(config, naming)) {
    stored.push_back({.name = spec.parts[0].name,
                      .dtype = "F32",
                      .type = TensorType::kF32,
                      .shape = spec.parts[0].shape,
                      .offset = stored.size(),
                      .bytes = sizeof(float) * Elements(spec.shape)});
  }
  std::reverse(stored.begin(), stored.end());
  return stored;
}

StoredTensor Vector(const std::string& name) {
  return {.name = name, .dtype = "F32", .type = TensorType::kF32, .shape = {1}, .bytes = 4};
}

StoredTensor& Named(std::vector<StoredTensor>& stored, const std::string& name) {
  return *std::find_if(stored.begin(), stored.end(),
                       [&](const StoredTensor& tensor) { return tensor.name == name; });
}

std::vector<std::string> CanonicalNames(const std::vector<TensorSpec>& layout) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : layout) names.push_back(spec.name);
  return names;
}

TEST(TensorLayoutTest, NamesWhatEachFormatStores) {
  const std::vector<TensorSpec> llama = TensorLayout(SmallConfig(), TensorNaming::kLlama);
  const std::vector<NamedShape> stored = SmallLlamaTensors();
  const std::vector<NamedShape> canonical = SmallPeerageTensors();

  ASSERT_EQ(llama.size(), stored.size());
  for (size_t i = 0; i < llama.size(); ++i) {
    ASSERT_EQ(llama[i].parts.size(), 1u);
    EXPECT_EQ(llama[i].parts[0].name, stored[i].name);
    EXPECT_EQ(llama[i].parts[0].shape, stored[i].shape);
    EXPECT_EQ(llama[i].name, canonical[i].name);
    EXPECT_EQ(llama[i].shape, stored[i].shape);
    EXPECT_EQ(llama[i].role, stored[i].shape.size() == 1 ? TensorRole::kNorm : TensorRole::kMatrix);
    EXPECT_TRUE(std::holds_alternative<AsStored>(llama[i].transform));
  }
}

TEST(TensorLayoutTest, IsTheSameCanonicalSetForEveryFormat) {
  const ModelConfig config = SmallConfig();
  const auto names = CanonicalNames(TensorLayout(config, TensorNaming::kPeerage));

  EXPECT_EQ(names, CanonicalNames(TensorLayout(config, TensorNaming::kLlama)));
  EXPECT_EQ(names, CanonicalNames(TensorLayout(config, TensorNaming::kGguf)));
}

TEST(TensorLayoutTest, KnowsThatOnlyGgufInterleavesQueriesAndKeys) {
  int interleaved = 0;
  for (const TensorSpec& spec : TensorLayout(SmallConfig(), TensorNaming::kGguf)) {
    const AxisSwap* swap = std::get_if<AxisSwap>(&spec.transform);
    if (swap == nullptr) continue;
    ++interleaved;
    const std::string& name = spec.parts[0].name;
    EXPECT_THAT(name, AnyOf("blk.0.attn_q.weight", "blk.0.attn_k.weight"));
    EXPECT_EQ(swap->outer, name == "blk.0.attn_q.weight" ? 2 : 1);
    EXPECT_EQ(swap->stored_first, 8);
    EXPECT_EQ(swap->stored_second, 2);
  }
  EXPECT_EQ(interleaved, 2);
}

TEST(TensorLayoutTest, FollowsTheConfig) {
  ModelConfig config = SmallConfig();
  config.tied_embeddings = true;
  config.parallel_block = true;
  config.layers.push_back({{DenseFfnConfig{96}}});

  const std::vector<TensorSpec> layout = TensorLayout(config, TensorNaming::kPeerage);

  const std::vector<std::string> names = CanonicalNames(layout);
  EXPECT_EQ(names.size(), 1 + 2 * 8 + 1u);
  for (const std::string& name : names) {
    EXPECT_NE(name, "lm_head.weight");
    EXPECT_EQ(name.find("post_attention_norm"), std::string::npos);
  }
  EXPECT_EQ(names[14], "model.layers.1.ffn.dense.gate_proj.weight");
  EXPECT_THAT(layout[14].shape, ElementsAre(96, 32));
}

TEST(TensorBindingTest, PutsTensorsInTheLayoutsOrderUnderCanonicalNames) {
  const auto binding = BindTensors(SmallConfig(), TensorNaming::kLlama,
                                   StoredFor(SmallConfig(), TensorNaming::kLlama));

  ASSERT_TRUE(binding.ok()) << binding.status();
  ASSERT_EQ(binding->tensors.size(), 12u);
  for (size_t i = 0; i < binding->tensors.size(); ++i) {
    EXPECT_EQ(binding->tensors[i].parts[0].offset, i);
    EXPECT_EQ(binding->tensors[i].info.name, SmallPeerageTensors()[i].name);
    EXPECT_EQ(binding->tensors[i].info.bytes, 4 * Elements(SmallPeerageTensors()[i].shape));
  }
  EXPECT_THAT(binding->ignored, IsEmpty());
}

TEST(TensorBindingTest, IgnoresByNameWhatOldLlamaFilesHoldBesides) {
  ModelConfig config = SmallConfig();
  std::vector<StoredTensor> stored = StoredFor(config, TensorNaming::kLlama);
  stored.push_back(Vector("model.layers.0.self_attn.rotary_emb.inv_freq"));
  config.tied_embeddings = true;

  const auto binding = BindTensors(config, TensorNaming::kLlama, stored);

  ASSERT_TRUE(binding.ok()) << binding.status();
  EXPECT_THAT(binding->ignored,
              ElementsAre("lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"));
}

TEST(TensorBindingTest, TellsOfAHeadBesideTheEmbeddingThatItIsTiedTo) {
  ModelConfig config = SmallConfig();
  std::vector<StoredTensor> stored = StoredFor(config, TensorNaming::kPeerage);
  config.tied_embeddings = true;

  const auto binding = BindTensors(config, TensorNaming::kPeerage, stored);

  ASSERT_TRUE(binding.ok()) << binding.status();
  EXPECT_THAT(binding->ignored, ElementsAre("lm_head.weight"));
  ASSERT_TRUE(binding->tied_head.has_value());
  EXPECT_EQ(binding->tied_head->head.name, "lm_head.weight");
  EXPECT_EQ(binding->tied_head->embedding.name, "model.embed_tokens.weight");
}

TEST(TensorBindingTest, AcceptsEveryPlainDtypeForEveryTensor) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    std::vector<StoredTensor> stored = StoredFor(SmallConfig(), TensorNaming::kLlama);
    for (StoredTensor& tensor : stored) tensor.type = type;
    EXPECT_TRUE(BindTensors(SmallConfig(), TensorNaming::kLlama, stored).ok());
  }
}

struct Defect {
  const char* name;
  std::function<void(std::vector<StoredTensor>&)> plant;
  const char* error;
};

class TensorDefectTest : public ::testing::TestWithParam<Defect> {};

TEST_P(TensorDefectTest, IsRefusedByName) {
  std::vector<StoredTensor> stored = StoredFor(SmallConfig(), TensorNaming::kGguf);
  GetParam().plant(stored);

  const auto binding = BindTensors(SmallConfig(), TensorNaming::kGguf, stored);

  ASSERT_FALSE(binding.ok());
  EXPECT_THAT(std::string(binding.status().message()), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    All, TensorDefectTest,
    ::testing::Values(
        Defect{"Missing", [](auto& stored) { stored.pop_back(); },
               "tensor \"token_embd.weight\": is missing"},
        Defect{"Surplus", [](auto& stored) { stored.push_back(Vector("x")); },
               "tensor \"x\": the model has no such tensor"},
        Defect{"ScaledRotation",
               [](auto& stored) { stored.push_back(Vector("rope_freqs.weight")); },
               "tensor \"rope_freqs.weight\": the model has no such tensor (it scales rotary "
               "frequencies for long contexts, as in Llama 3.1, which is not supported"},
        Defect{"Bias", [](auto& stored) { stored.push_back(Vector("blk.0.attn_q.bias")); },
               "blk.0.attn_q.bias\": the model has no such tensor (biases of"},
        Defect{"ForeignDtype",
               [](auto& stored) {
                 Named(stored, "blk.0.ffn_up.weight").type.reset();
                 Named(stored, "blk.0.ffn_up.weight").dtype = "Q4_K";
               },
               "blk.0.ffn_up.weight\": dtype Q4_K is not supported for weights (F32, F16 and BF16 "
               "are, and in GGUF files Q4_0"},
        Defect{"LayerTooMany",
               [](auto& stored) { stored.push_back(Vector("blk.1.attn_q.weight")); },
               "tensor \"blk.1.attn_q.weight\": the model has no such tensor"},
        Defect{"Transposed",
               [](auto& stored) {
                 Named(stored, "blk.0.ffn_up.weight").shape = {32, 64};
               },
               "tensor \"blk.0.ffn_up.weight\": shape [32, 64], but the config asks for [64, 32]"},
        Defect{"WrongRank",
               [](auto& stored) {
                 Named(stored, "output_norm.weight").shape = {1, 32};
               },
               "tensor \"output_norm.weight\": shape [1, 32]"},
        Defect{"WrongVocab",
               [](auto& stored) {
                 Named(stored, "token_embd.weight").shape = {9, 32};
               },
               "tensor \"token_embd.weight\": shape [9, 32]"},
        Defect{"NotAWeightsDtype",
               [](auto& stored) {
                 Named(stored, "output_norm.weight").type.reset();
                 Named(stored, "output_norm.weight").dtype = "I64";
               },
               "tensor \"output_norm.weight\": dtype I64"},
        Defect{"QuantisedNorm",
               [](auto& stored) {
                 Named(stored, "blk.0.attn_norm.weight").type = TensorType::kQ8_0;
                 Named(stored, "blk.0.attn_norm.weight").dtype = "Q8_0";
               },
               "tensor \"blk.0.attn_norm.weight\": dtype Q8_0"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace peerage
