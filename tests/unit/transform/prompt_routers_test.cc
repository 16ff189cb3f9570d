#include "model/transform/prompt_routers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "model/transform/dense_forward.h"
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
    options_.routers = RouterInit::kPrompts;
    options_.prompts = {{"one", directory_.Write("one.txt", "abc\n\n \nde f\n")},
                        {"two", directory_.Write("two.txt", "12345")}};
  }

  absl::StatusOr<PromptRouters> Make() const {
    return MakePromptRouters(*checkpoint_, {"one", "two"}, options_);
  }

  std::string ErrorText() const { return std::string(Make().status().message()); }

  const std::unique_ptr<Checkpoint> checkpoint_ = OpenCheckpoint(kModel).value();
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
  const auto tokenizer = *Tokenizer::Load(checkpoint_->tokenizer());
  auto forward =
      DenseForward::Start(*checkpoint_, {*tokenizer->Encode("12345", SpecialTokens::kAsText)});
  const std::vector<float> states = forward->RunLayer()->ffn;
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

TEST_F(PromptRoutersTest, NamesTheExpertAndTheFile) {
  options_.prompts[1].name = "three";
  EXPECT_EQ(ErrorText(), "prompts of \"three\": there is no such expert");
  options_.prompts.pop_back();
  EXPECT_EQ(ErrorText(), "expert \"two\" has no prompts");
  options_.prompts.push_back({"two", directory_.Write("empty.txt", " \n\n")});
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
