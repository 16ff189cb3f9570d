#include "model/transform/upcycle/layer_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/mixture_models.h"
#include "tests/support/nan.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::Pair;

// What every part of every layer reads, [sequence][token][hidden] one behind the other.
using Inputs = std::map<std::pair<int, nn::LayerPart>, std::vector<float>>;

Inputs Read(const Checkpoint& checkpoint, const std::vector<TokenSequence>& sequences,
            const LayerInputOptions& options = {}) {
  Inputs inputs;
  const absl::Status status =
      ReadLayerInputs(checkpoint, sequences, options, [&](const LayerInput& input) {
        std::vector<float>& rows = inputs[{input.layer, input.part}];
        rows.insert(rows.end(), input.rows.begin(), input.rows.end());
      });
  EXPECT_TRUE(status.ok()) << status;
  return inputs;
}

// A model with every kind of layer.
ModelConfig EveryKind(bool parallel) {
  ModelConfig config =
      MixtureModel(SoftAttention(2, MixtureKv::kShared), MixtureFfnPart(3, 1, false));
  config.parallel_block = parallel;
  const PeerConfig peer{
      .keys = {.num_experts = 49, .num_sub_keys = 7, .heads = 2, .top_k = 3, .key_dim = 6}};
  config.layers.push_back({.ffn = {DenseFfnConfig{96}, peer, ProductKeyMemoryConfig{peer.keys}}});
  return config;
}

std::vector<double> RmsNorm(const float* x, const std::vector<float>& weight, double epsilon) {
  double squares = 0;
  for (size_t i = 0; i < weight.size(); ++i) squares += double{x[i]} * x[i] / weight.size();
  std::vector<double> y;
  for (size_t i = 0; i < weight.size(); ++i) {
    y.push_back(x[i] / std::sqrt(squares + epsilon) * weight[i]);
  }
  return y;
}

// Where no part adds anything, each reads the norm of the embedding, by the weight of its own norm.
TEST(LayerInputsTest, AreWhatTheNormBeforeThePartGives) {
  for (const bool parallel : {false, true}) {
    MemoryCheckpoint checkpoint(EveryKind(parallel), 3);
    for (const TensorInfo& tensor : checkpoint.tensors()) {
      const bool adds = absl::EndsWith(tensor.name, "o_proj.weight") ||
                        absl::EndsWith(tensor.name, "down_proj.weight") ||
                        absl::EndsWith(tensor.name, "peer.up.weight") ||
                        absl::EndsWith(tensor.name, "values.weight");
      std::vector<float>& values = checkpoint.values(tensor.name);
      if (adds) std::fill(values.begin(), values.end(), 0.0f);
    }
    const std::vector<TokenSequence> sequences = {{5, 0, 66}, {17}};

    const Inputs inputs = Read(checkpoint, sequences);

    ASSERT_EQ(inputs.size(), 6u);
    for (const auto& [where, rows] : inputs) {
      const bool first_norm = parallel || where.second == nn::LayerPart::kAttention;
      const std::string norm =
          absl::StrCat("model.layers.", where.first,
                       first_norm ? ".input_norm.weight" : ".post_attention_norm.weight");
      ASSERT_EQ(rows.size(), 4u * 32);
      const float* row = rows.data();
      for (const TokenId token : {5, 0, 66, 17}) {
        const float* x = checkpoint.values("model.embed_tokens.weight").data() + token * 32;
        const std::vector<double> wanted = RmsNorm(x, checkpoint.values(norm), 1e-5);
        for (size_t i = 0; i < 32; ++i) ASSERT_NEAR(row[i], wanted[i], 1e-5) << norm;
        row += 32;
      }
    }
  }
}

TEST(LayerInputsTest, DoNotDependOnNeighboursOrThreads) {
  const MemoryCheckpoint checkpoint(EveryKind(false), 4);
  std::vector<TokenSequence> sequences = {TokenSequence(700), TokenSequence(3, 9)};
  for (size_t i = 0; i < 700; ++i) sequences[0][i] = (i * i) % 67;

  const Inputs alone = Read(checkpoint, {sequences[1]});
  const Inputs together = Read(checkpoint, sequences, {.threads = 3});

  EXPECT_EQ(together, Read(checkpoint, sequences));
  for (const auto& [where, rows] : alone) {
    const std::vector<float>& all = together.at(where);
    ASSERT_EQ(all.size(), 703u * 32);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), all.end() - rows.size()));
  }
}

TEST(LayerInputsTest, SayHowFarTheyAre) {
  const MemoryCheckpoint checkpoint(SmallConfig(), 5);
  std::vector<std::pair<size_t, size_t>> told;

  Read(checkpoint, {TokenSequence(600, 1), TokenSequence(2, 1)},
       {.progress = [&](size_t read, size_t total) { told.emplace_back(read, total); }});

  EXPECT_THAT(told, ElementsAre(Pair(512, 602), Pair(600, 602), Pair(602, 602)));
}

// The small model with two heads of this size, every weight 1 but those of one tensor.
std::unique_ptr<Checkpoint> OnesWith(const TemporaryDirectory& directory, int head_dim,
                                     const std::string& tensor, float value) {
  SafetensorsBuilder builder;
  for (auto [name, shape] : SmallLlamaTensors()) {
    if (absl::StrContains(name, "q_proj")) shape[0] = 2 * head_dim;
    if (absl::StrContains(name, "k_proj") || absl::StrContains(name, "v_proj")) shape[0] = head_dim;
    if (absl::StrContains(name, "o_proj")) shape[1] = 2 * head_dim;
    const float number = name == tensor ? value : 1;
    std::string bytes;
    for (int64_t i = 0; i < Elements(shape); ++i) bytes += LittleEndianBytes(number);
    builder.Add(name, "F32", shape, bytes);
  }
  json config = json::parse(kSmallLlamaConfig);
  config["head_dim"] = head_dim;
  directory.Write("config.json", config.dump());
  directory.Write("model.safetensors", builder.Build());
  directory.Write("tokenizer.json", "{}");
  return OpenCheckpoint(directory.path()).value();
}

std::string ErrorOf(const Checkpoint& checkpoint) {
  const std::vector<TokenSequence> sequences = {{1, 2}};
  const absl::Status status =
      ReadLayerInputs(checkpoint, sequences, {}, [](const LayerInput&) { ADD_FAILURE(); });
  return std::string(status.message());
}

TEST(LayerInputsErrorTest, RefusesHeadsThatAttentionDoesNotTake) {
  const TemporaryDirectory directory;

  EXPECT_EQ(ErrorOf(*OnesWith(directory, 272, "", 1)),
            "head_dim is 272, and attention takes at most 256");
}

TEST(LayerInputsErrorTest, NamesTheTensorThatIsNotFinite) {
  const TemporaryDirectory directory;
  EXPECT_EQ(ErrorOf(*OnesWith(directory, 16, "model.embed_tokens.weight", kNan)),
            "tensor \"model.embed_tokens.weight\" holds a NaN or an infinity");
  EXPECT_EQ(ErrorOf(*OnesWith(directory, 16, "model.layers.0.mlp.up_proj.weight", kNan)),
            "tensor \"model.layers.0.ffn.dense.up_proj.weight\" holds a NaN or an infinity");
}

}  // namespace
}  // namespace peerage::transform
