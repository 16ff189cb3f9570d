// Models of quantised GGUF files on a CUDA device, with the defaults of the server: blocks become
// bf16 numbers as they are loaded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/nn/load_model.h"
#include "model/transform/convert/model_conversion.h"
#include "tests/support/model_runner.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr char kModel[] = "tests/golden/models/llama_untied";

std::vector<float> Logprobs(const Checkpoint& checkpoint, nn::LoadOptions options) {
  options.kv_cache_bytes = 4 << 20;
  const auto model = nn::LoadModel(checkpoint, options);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  std::vector<TokenId> tokens(40);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(3 + 37 * i % 251);
  return SequenceRunner(**model, 0, 0).Score(tokens, 64);
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    most = std::max(most, std::abs(double{a[i]} - b[i]));
  }
  return most;
}

class CudaGgufTest : public testing::TestWithParam<TensorType> {
 protected:
  // The golden model with its matrices in blocks of the type; of q4_1 embedding and head are q8_0.
  std::unique_ptr<Checkpoint> Quantised() const {
    const std::string out = directory_.PathOf("model.gguf");
    const auto report = transform::ConvertModel({.from = kModel, .out = out, .dtype = GetParam()});
    EXPECT_TRUE(report.ok()) << report.status();
    auto checkpoint = OpenCheckpoint(out);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return *std::move(checkpoint);
  }

  TemporaryDirectory directory_;
};

TEST_P(CudaGgufTest, AnswersAsTheCpuWithTheSameWeightsInBf16) {
  const auto checkpoint = Quantised();
  ASSERT_EQ(checkpoint->Find("model.layers.0.ffn.dense.up_proj.weight")->type, GetParam());
  const auto needs = nn::PlanMemory(*checkpoint, {.device = "cuda:0"});
  ASSERT_TRUE(needs.ok()) << needs.status();
  EXPECT_THAT(needs->conversions, Contains(HasSubstr("q8_0 matri")));
  const auto model = nn::LoadModel(*checkpoint, {.device = "cuda:0", .kv_cache_bytes = 4 << 20});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->description().weights_dtype, "bf16");

  // Activations, keys and values of a device are bf16, the CPU's f32: what that comes to, the model
  // tells that the file was made of.
  const auto original = OpenCheckpoint(kModel);
  ASSERT_TRUE(original.ok()) << original.status();
  const nn::LoadOptions on_cuda{.device = "cuda:0"};
  const nn::LoadOptions in_bf16{.weights_dtype = nn::WeightsDtype::kBF16};
  const std::vector<float> cpu = Logprobs(*checkpoint, in_bf16);
  const std::vector<float> of_original = Logprobs(**original, in_bf16);
  const double rounding = LargestDifference(Logprobs(**original, on_cuda), of_original);
  EXPECT_LT(LargestDifference(Logprobs(*checkpoint, on_cuda), cpu), 2 * rounding);
  EXPECT_LT(rounding, 1e-1);
  EXPECT_GT(LargestDifference(cpu, of_original), GetParam() == TensorType::kQ4_1 ? 2e-1 : 1e-3)
      << "the blocks are no other weights";
}

TEST_P(CudaGgufTest, AnswersAsTheCpuInF32) {
  const auto checkpoint = Quantised();
  const std::vector<float> cuda =
      Logprobs(*checkpoint, {.device = "cuda:0",
                             .activation_dtype = nn::ActivationDtype::kF32,
                             .kv_dtype = nn::KvDtype::kF32});
  const std::vector<float> cpu = Logprobs(*checkpoint, {.weights_dtype = nn::WeightsDtype::kF32});
  EXPECT_LT(LargestDifference(cuda, cpu), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(, CudaGgufTest, testing::Values(TensorType::kQ8_0, TensorType::kQ4_1),
                         [](const auto& info) { return std::string(Traits(info.param).name); });

}  // namespace
}  // namespace peerage
