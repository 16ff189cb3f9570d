// The forward pass of the tools against the golden models' log-probabilities, which come from
// Hugging Face transformers and from independent code (tests/golden/make_tiny_models.py).
#include "model/transform/upcycle/dense_forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "model/transform/tensor_values.h"
#include "tests/support/nan.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using nlohmann::json;

std::vector<float> WholeTensor(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo& tensor = *checkpoint.Find(name);
  return *ReadFloatRows(checkpoint, tensor, 0, tensor.shape.front());
}

// The final norm of one token's state, in double.
std::vector<double> FinalNorm(const Checkpoint& checkpoint, const float* state) {
  const ModelConfig& config = checkpoint.config();
  const std::vector<float> weight = WholeTensor(checkpoint, "model.norm.weight");
  const int width = config.hidden_size;
  double mean = 0, squares = 0;
  for (int i = 0; i < width && config.norm_type == NormType::kLayerNorm; ++i) {
    mean += state[i] / width;
  }
  for (int i = 0; i < width; ++i) squares += (state[i] - mean) * (state[i] - mean) / width;
  std::vector<double> normed(width);
  for (int i = 0; i < width; ++i) {
    normed[i] = (state[i] - mean) / std::sqrt(squares + config.norm_eps) * weight[i];
  }
  return normed;
}

double LogProbability(const Checkpoint& checkpoint, const float* state, TokenId target) {
  const std::vector<double> normed = FinalNorm(checkpoint, state);
  const std::vector<float> head =
      WholeTensor(checkpoint, checkpoint.config().tied_embeddings ? "model.embed_tokens.weight"
                                                                  : "lm_head.weight");
  double sum = 0, wanted = 0;
  for (int row = 0; row < checkpoint.config().vocab_size; ++row) {
    double logit = 0;
    for (size_t i = 0; i < normed.size(); ++i) logit += normed[i] * head[row * normed.size() + i];
    sum += std::exp(logit);
    if (row == static_cast<int>(target)) wanted = logit;
  }
  return wanted - std::log(sum);
}

class DenseForwardTest : public testing::TestWithParam<const char*> {};

TEST_P(DenseForwardTest, AgreesWithTheReferenceForSequencesSideBySide) {
  const std::string folder = std::string("tests/golden/models/") + GetParam();
  const auto checkpoint = OpenCheckpoint(folder);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::ifstream file(folder + "/expected.json");
  const json expected = json::parse(file);
  std::vector<TokenSequence> sequences;
  for (const json& sequence : expected["sequences"]) sequences.push_back(sequence["tokens"]);

  auto forward = DenseForward::Start(**checkpoint, sequences);
  ASSERT_TRUE(forward.ok()) << forward.status();
  for (size_t i = 0; i < (*checkpoint)->config().layers.size(); ++i) {
    const auto inputs = forward->RunLayer();
    ASSERT_TRUE(inputs.ok()) << inputs.status();
    EXPECT_EQ(inputs->attention.size(), forward->residual().size());
    EXPECT_EQ(inputs->attention == inputs->ffn, (*checkpoint)->config().parallel_block);
  }

  const float* state = forward->residual().data();
  for (size_t s = 0; s < sequences.size(); ++s) {
    const std::vector<double> wanted = expected["sequences"][s]["log_probabilities"];
    for (size_t t = 0; t < wanted.size(); t += 5) {
      EXPECT_NEAR(LogProbability(**checkpoint, state + t * (*checkpoint)->config().hidden_size,
                                 sequences[s][t + 1]),
                  wanted[t], 1e-3)
          << "sequence " << s << ", token " << t;
    }
    state += sequences[s].size() * (*checkpoint)->config().hidden_size;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DenseForwardTest,
                         testing::Values("llama_tied", "llama_untied", "peerage_parallel",
                                         "peerage_odd_sizes"),
                         [](const auto& info) { return std::string(info.param); });

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
    for (size_t i = 0; i < Elements(shape); ++i) bytes += LittleEndianBytes(number);
    builder.Add(name, "F32", shape, bytes);
  }
  json config = json::parse(kSmallLlamaConfig);
  config["head_dim"] = head_dim;
  directory.Write("config.json", config.dump());
  directory.Write("model.safetensors", builder.Build());
  directory.Write("tokenizer.json", "{}");
  return OpenCheckpoint(directory.path()).value();
}

TEST(DenseForwardErrorTest, RefusesHeadsThatAttentionDoesNotTake) {
  const TemporaryDirectory directory;
  const auto checkpoint = OnesWith(directory, 272, "", 1);

  EXPECT_EQ(DenseForward::Start(*checkpoint, {{1, 2}}).status().message(),
            "head_dim is 272, and attention takes at most 256");
}

TEST(DenseForwardErrorTest, NamesTheTensorThatIsNotFinite) {
  const TemporaryDirectory directory;
  const auto embedding = OnesWith(directory, 16, "model.embed_tokens.weight", kNan);
  EXPECT_EQ(DenseForward::Start(*embedding, {{1}}).status().message(),
            "tensor \"model.embed_tokens.weight\" holds a NaN or an infinity");

  const auto up = OnesWith(directory, 16, "model.layers.0.mlp.up_proj.weight", kNan);
  auto forward = DenseForward::Start(*up, {{1}});
  ASSERT_TRUE(forward.ok()) << forward.status();
  EXPECT_EQ(forward->RunLayer().status().message(),
            "tensor \"model.layers.0.ffn.dense.up_proj.weight\" holds a NaN or an infinity");
}

}  // namespace
}  // namespace peerage::transform
