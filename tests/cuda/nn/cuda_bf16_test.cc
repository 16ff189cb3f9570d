// What ships as the default: bf16 activations, matrices and cache.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "model/kernels/float16.h"
#include "model/nn/load_model.h"
#include "model/nn/plan/model_plan.h"
#include "tests/support/expert_loop.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/odd_models.h"
#include "tests/support/sequence_feed.h"

namespace peerage {
namespace {

// Every weight a bf16 number, so that no rounding of weights is seen.
void RoundWeights(MemoryCheckpoint& checkpoint) {
  for (const nn::PlannedTensor& tensor : nn::PlanModel(checkpoint.config()).Tensors()) {
    for (float& value : checkpoint.values(tensor.name)) {
      value = kernels::F32FromBF16(kernels::BF16FromF32(value));
    }
  }
}

double LargestDifference(const std::vector<float>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

// Sums of f32 and double differ by some 1e-6, which now and then rounds a value the other way: by a
// step of 2^-8 of it. A reference that does not round is several times as far away.
TEST(CudaBf16Test, RoundsWhereTheReferenceRounds) {
  std::vector<NamedModel> models = OddModels();
  ModelConfig shared = OddConfig();  // down projections of which blocks have parts
  for (LayerConfig& layer : shared.layers) layer.ffn = {DenseFfnConfig{520}};
  models.push_back({"DenseInParts", shared});
  for (const auto& [name, config] : models) {
    SCOPED_TRACE(name);
    MemoryCheckpoint checkpoint(config, 41);
    RoundWeights(checkpoint);
    const auto model =
        nn::LoadModel(checkpoint, {.device = "cuda:0", .num_slots = 8, .kv_cache_bytes = 4 << 20});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->description().weights_dtype, "bf16");
    const FedSequence sequence{Prompt(40, 11), {7, 2}};
    const std::vector<float> actual = Feed(**model, {sequence}).logprobs[0];
    const double rounded = LargestDifference(
        actual, ExpertLoopLogprobs(checkpoint, sequence.tokens, LoopRounding::kBF16));
    const double exact = LargestDifference(actual, ExpertLoopLogprobs(checkpoint, sequence.tokens));
    EXPECT_LT(rounded, 1e-2) << exact << " without rounding";
    EXPECT_LT(rounded, exact / 4);
  }
}

// Where so many values are rounded, some are rounded the other way, and all behind them differ.
// What is left of the sum of another layer would be far away.
TEST(CudaBf16Test, SumsInPartsAreOfTheirOwnLayer) {
  for (const auto& [name, config] : LongProductModels()) {
    SCOPED_TRACE(name);
    MemoryCheckpoint checkpoint(config, 41);
    RoundWeights(checkpoint);
    const auto model =
        nn::LoadModel(checkpoint, {.device = "cuda:0", .num_slots = 8, .kv_cache_bytes = 4 << 20});
    ASSERT_TRUE(model.ok()) << model.status();
    const FedSequence sequence{Prompt(20, 11), {7, 2}};
    EXPECT_LT(
        LargestDifference(Feed(**model, {sequence}).logprobs[0],
                          ExpertLoopLogprobs(checkpoint, sequence.tokens, LoopRounding::kBF16)),
        5e-2);
  }
}

}  // namespace
}  // namespace peerage
