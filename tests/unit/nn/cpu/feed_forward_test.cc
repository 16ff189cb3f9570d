// Dense feed-forward layers and mixtures of them by themselves against one expert after the other
// in double.
#include <gtest/gtest.h>

#include <optional>
#include <tuple>
#include <vector>

#include "model/nn/cpu/dense_ffn.h"
#include "model/nn/cpu/mixture_ffn.h"
#include "tests/support/expert_loop.h"
#include "tests/support/layer_bench.h"
#include "tests/support/mixture_models.h"
#include "tests/support/odd_models.h"
#include "tests/support/random_values.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kD = 33;
constexpr double kNear = 2e-5;

MixtureFfnConfig OddExperts(int experts, int top_k, bool normalize) {
  MixtureFfnConfig config = MixtureFfnPart(experts, top_k, normalize);
  config.intermediate_size = 37;
  return config;
}

std::vector<BenchChunk> OneChunk(int tokens) { return {{tokens, 0, {0, 1, 2, 3, 4, 5, 6, 7, 8}}}; }

// The first feed-forward part of layer 0.
template <typename Layer, typename Plan>
struct FfnBench {
  explicit FfnBench(const FfnConfig& ffn, const LoadOptions& options = {})
      : FfnBench(OddModel({}, {ffn}), options) {}
  FfnBench(const ModelConfig& config, const LoadOptions& options)
      : checkpoint(config, 7), bench(checkpoint, options) {
    layer.emplace(bench.Load([&](WeightPlacer& placer) {
      return Layer::Place(std::get<Plan>(bench.plan().blocks[0].ffn[0]), placer);
    }));
    bench.LayBuffers(layer->ScratchBytes());
  }

  std::vector<float> Run(const std::vector<float>& u, const std::vector<float>& x) {
    const int width = bench.plan().hidden_size;
    const StepContext step = bench.Begin(OneChunk(static_cast<int>(u.size()) / width));
    bench.SetResidual(x);
    const Activations input = bench.Input(u);
    layer->Route(step, input);
    layer->Forward(step, input);
    return bench.Residual();
  }

  DoubleRows Expected(const std::vector<float>& u, const std::vector<float>& x) const {
    DoubleRows y = ToRows(x, kD);
    AddFfnLoop(checkpoint, 0, ToRows(u, kD), y);
    return y;
  }

  MemoryCheckpoint checkpoint;
  LayerBench bench;
  std::optional<Layer> layer;
};

using DenseBench = FfnBench<DenseFfn, DenseFfnPlan>;
using MixtureBench = FfnBench<MixtureFfn, MixtureFfnPlan>;

TEST(DenseFfnTest, IsTheNaiveSum) {
  for (const int width : {1, 31, 97}) {
    for (const int threads : {1, 3}) {
      DenseBench dense(DenseFfnConfig{width}, {.threads = threads});
      for (const int tokens : {1, 3, 33, 257}) {
        const std::vector<float> u = RandomValues(tokens * kD, tokens);
        const std::vector<float> x = RandomValues(tokens * kD, tokens + 1);
        ExpectRowsNear(dense.Run(u, x), dense.Expected(u, x), kNear);
      }
    }
  }
}

TEST(DenseFfnTest, KnowsEveryActivation) {
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    ModelConfig config = OddConfig();
    config.activation = activation;
    const MemoryCheckpoint checkpoint(config, 3);
    LayerBench bench(checkpoint, {});
    const DenseFfn ffn = bench.Load([&](WeightPlacer& placer) {
      return DenseFfn::Place(std::get<DenseFfnPlan>(bench.plan().blocks[0].ffn[0]), placer);
    });
    bench.LayBuffers();
    const std::vector<float> u = RandomValues(5 * kD, 1), x(5 * kD);
    const StepContext step = bench.Begin(OneChunk(5));
    bench.SetResidual(x);
    ffn.Forward(step, bench.Input(u));
    DoubleRows expected = ToRows(x, kD);
    AddFfnLoop(checkpoint, 0, ToRows(u, kD), expected);
    ExpectRowsNear(bench.Residual(), expected, kNear);
  }
}

TEST(MixtureFfnTest, IsOneExpertAfterTheOther) {
  const std::tuple<int, int, bool> kMixtures[] = {{1, 1, false}, {3, 3, false},  {5, 2, true},
                                                  {5, 2, false}, {31, 1, false}, {7, 6, true}};
  for (const auto& [experts, top_k, normalize] : kMixtures) {
    SCOPED_TRACE(testing::Message() << experts << " experts, top " << top_k);
    for (const int threads : {1, 3}) {
      MixtureBench mixture(OddExperts(experts, top_k, normalize), {.threads = threads});
      for (const int tokens : {1, 3, 33}) {
        const std::vector<float> u = RandomValues(tokens * kD, tokens);
        const std::vector<float> x = RandomValues(tokens * kD, tokens + 1);
        ExpectRowsNear(mixture.Run(u, x), mixture.Expected(u, x), kNear);
      }
    }
  }
}

// As many tokens as a step may have use every buffer to its end, and a token's bits do not hang on
// which experts the others chose.
TEST(MixtureFfnTest, ATokensBitsAreItsOwn) {
  ModelConfig blocks = OddConfig();  // rows of whole blocks, so that they can be quantised
  blocks.hidden_size = 96;
  blocks.layers[0].ffn = {MixtureFfnPart(5, 2, true)};
  for (const WeightsDtype dtype : {WeightsDtype::kF32, WeightsDtype::kQ8_0, WeightsDtype::kQ4_1}) {
    MixtureBench mixture(blocks, {.weights_dtype = dtype, .threads = 2, .max_step_tokens = 97});
    const std::vector<float> u = RandomValues(97 * 96, 8), x = RandomValues(97 * 96, 9);
    const std::vector<float> together = mixture.Run(u, x);
    for (int t = 0; t < 97; t += 8) {
      const auto row = [&](const std::vector<float>& rows) {
        return std::vector<float>(rows.begin() + t * 96, rows.begin() + (t + 1) * 96);
      };
      EXPECT_EQ(mixture.Run(row(u), row(x)), row(together)) << t;
    }
  }
}

}  // namespace
}  // namespace peerage::nn::cpu
