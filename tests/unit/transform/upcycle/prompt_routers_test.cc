#include "model/transform/upcycle/prompt_routers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transform/upcycle/layer_inputs.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kModel[] = "tests/golden/models/llama_gguf_mixed/model.gguf";
constexpr char kRouter[] = "model.layers.0.ffn.mixture.router.weight";

class PromptRoutersTest : public ::testing::Test {
 protected:
  PromptRoutersTest() {
    options_.base.name = "one";
    options_.experts = {{"two", ""}};
    options_.prompts = {{"one", directory_.Write("one.txt", "abc\n\n \nde f\n")},
                        {"two", directory_.Write("two.txt", "12345")}};
  }

  absl::StatusOr<PromptRouters> Make() const {
    ASSIGN_OR_RETURN(const ExpertPrompts prompts, ReadExpertPrompts(*tokenizer_, options_));
    return MakePromptRouters(*checkpoint_, prompts, options_.attention);
  }

  std::string ErrorText() const { return std::string(Make().status().message()); }

  const std::unique_ptr<Checkpoint> checkpoint_ = OpenCheckpoint(kModel).value();
  const std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::Load(checkpoint_->tokenizer()).value();
  const TemporaryDirectory directory_;
  UpcycleOptions options_;
};

std::vector<float> RowOf(const PromptRouters& routers, const char* name, int row) {
  const std::vector<float>& values = routers.values.at(name);
  const size_t width = values.size() / 2;
  return {values.begin() + row * width, values.begin() + (row + 1) * width};
}

TEST_F(PromptRoutersTest, RowsAreMeanStatesAtLengthOne) {
  const auto routers = Make();

  ASSERT_TRUE(routers.ok()) << routers.status();
  EXPECT_THAT(routers->values, SizeIs(2 * checkpoint_->config().layers.size()));
  std::vector<float> states;
  const std::vector<TokenSequence> prompt = {*tokenizer_->Encode("12345", SpecialTokens::kAsText)};
  ASSERT_TRUE(ReadLayerInputs(*checkpoint_, prompt, {}, [&](const LayerInput& input) {
                if (input.layer > 0 || input.part != nn::LayerPart::kFeedForward) return;
                states.insert(states.end(), input.rows.begin(), input.rows.end());
              }).ok());
  const size_t width = checkpoint_->config().hidden_size;
  std::vector<double> mean(width);
  for (size_t i = 0; i < states.size(); ++i) mean[i % width] += states[i];
  double length = 0;
  for (const double value : mean) length += value * value;
  const std::vector<float> row = RowOf(*routers, kRouter, 1);
  for (size_t i = 0; i < width; ++i) EXPECT_NEAR(row[i], mean[i] / std::sqrt(length), 1e-5);
}

TEST_F(PromptRoutersTest, LinesArePromptsOfTheirOwn) {
  const auto apart = Make();
  options_.prompts[0].path = directory_.Write("joined.txt", "abcde f");
  const auto joined = Make();

  ASSERT_TRUE(apart.ok() && joined.ok());
  EXPECT_NE(RowOf(*apart, kRouter, 0), RowOf(*joined, kRouter, 0));
  EXPECT_EQ(RowOf(*apart, kRouter, 1), RowOf(*joined, kRouter, 1));
}

TEST_F(PromptRoutersTest, WarnsWhenPromptsAreAlike) {
  options_.prompts[1].path = directory_.Write("same.txt", "abc\nde f");

  const auto routers = Make();

  ASSERT_TRUE(routers.ok()) << routers.status();
  ASSERT_THAT(routers->warnings, SizeIs(1));
  EXPECT_THAT(routers->warnings[0], AllOf(HasSubstr("ill-conditioned"), HasSubstr("inf")));
}

TEST_F(PromptRoutersTest, HasAttentionRoutersForAttentionExpertsOnly) {
  options_.attention = UpcycledAttention::kAverage;

  EXPECT_THAT(Make()->values, SizeIs(checkpoint_->config().layers.size()));
}

// Finite weights whose products are beyond f32.
TEST_F(PromptRoutersTest, NamesTheRouterThatWouldNotBeFinite) {
  SafetensorsBuilder builder;
  for (const auto& [name, shape] : SmallLlamaTensors()) {
    std::string bytes;
    for (int64_t i = 0; i < Elements(shape); ++i) bytes += LittleEndianBytes(1e30f);
    builder.Add(name, "F32", shape, bytes);
  }
  directory_.Write("model.safetensors", builder.Build());
  directory_.Write("config.json", kSmallLlamaConfig);
  directory_.Write("tokenizer.json", "{}");

  const auto routers =
      MakePromptRouters(**OpenCheckpoint(directory_.path()),
                        {.sequences = {{1}, {2}}, .tokens = {1, 1}}, UpcycledAttention::kAverage);

  EXPECT_EQ(
      routers.status().message(),
      "what model.layers.0.ffn.mixture.router.weight would read of the prompts is not finite");
}

TEST_F(PromptRoutersTest, NamesTheFile) {
  options_.prompts[1].path = directory_.Write("empty.txt", " \n\n");
  EXPECT_EQ(ErrorText(), directory_.PathOf("empty.txt") + ": holds no prompt");
  options_.prompts[1].path = directory_.PathOf("none.txt");
  EXPECT_THAT(ErrorText(), HasSubstr("none.txt"));
  options_.prompts[1].path = directory_.Write("broken.txt", "\xff");
  EXPECT_THAT(ErrorText(), HasSubstr("broken.txt"));
  options_.prompts[1].path = directory_.Write("long.txt", std::string(70'000, '1'));
  EXPECT_THAT(ErrorText(), AllOf(HasSubstr("long.txt"), HasSubstr("more than 16384 tokens")));
}

}  // namespace
}  // namespace peerage::transform
