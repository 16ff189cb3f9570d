#include "model/nn/cpu/block.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/expert_loop.h"
#include "tests/support/layer_bench.h"
#include "tests/support/odd_models.h"
#include "tests/support/random_values.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kBlockWidth = 33;

struct BlockBench {
  BlockBench(const ModelConfig& config, int layer, const LoadOptions& options = {})
      : checkpoint(config, 41), bench(checkpoint, options), index(layer) {
    block = bench.Load([&](WeightPlacer& placer) {
      return Block::Place(bench.plan().blocks[layer], layer, placer);
    });
    bench.LayBuffers(block.ScratchBytes());
  }

  std::vector<float> Run(const std::vector<float>& x) {
    const int tokens = static_cast<int>(x.size()) / kBlockWidth;
    const StepContext step = bench.Begin({{tokens, 0, {6, 1}}});
    bench.SetResidual(x);
    block.Forward(step, bench.kv_cache().layer(index));
    return bench.Residual();
  }

  MemoryCheckpoint checkpoint;
  LayerBench bench;
  int index;
  Block block;
};

TEST(BlockTest, EveryKindOfLayerIsTheNaiveOne) {
  for (const auto& [name, config] : OddModels()) {
    for (int layer = 0; layer < 3; ++layer) {
      SCOPED_TRACE(testing::Message() << name << ", layer " << layer);
      BlockBench block(config, layer, {.threads = 2});
      const std::vector<float> x = RandomValues(33 * kBlockWidth, 40 + layer);
      DoubleRows expected = ToRows(x, kBlockWidth);
      AddBlockLoop(block.checkpoint, layer, expected);
      // Sums of at most a hundred products, twice one after the other, of values below 30.
      ExpectRowsNear(block.Run(x), expected, 2e-4);
    }
  }
}

// Rows in double, each divided by its root mean square and weighed.
DoubleRows RmsNormed(const DoubleRows& x, const std::vector<float>& weight, double epsilon) {
  DoubleRows y = x;
  for (DoubleRow& row : y) {
    const double squares = std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] *= weight[i] / std::sqrt(squares / row.size() + epsilon);
    }
  }
  return y;
}

// The tap sees what attention reads, then what the feed-forward parts read.
TEST(BlockTest, TheTapSeesWhatPartsRead) {
  for (const bool parallel : {false, true}) {
    ModelConfig config = OddConfig();
    config.parallel_block = parallel;
    BlockBench block(config, 2);
    std::vector<std::pair<LayerPart, std::vector<float>>> seen;
    block.bench.set_tap([&](int layer, LayerPart part, absl::Span<const float> rows) {
      EXPECT_EQ(layer, 2);
      seen.push_back({part, {rows.begin(), rows.end()}});
    });
    const std::vector<float> x = RandomValues(9 * kBlockWidth, 4);
    block.Run(x);

    ASSERT_EQ(seen.size(), 2u);
    EXPECT_EQ(seen[0].first, LayerPart::kAttention);
    EXPECT_EQ(seen[1].first, LayerPart::kFeedForward);
    const std::string prefix = "model.layers.2.";
    DoubleRows h = ToRows(x, kBlockWidth);
    const DoubleRows u =
        RmsNormed(h, block.checkpoint.values(prefix + "input_norm.weight"), config.norm_eps);
    ExpectRowsNear(seen[0].second, u, 1e-5);
    if (parallel) {
      EXPECT_EQ(seen[1].second, seen[0].second);
      continue;
    }
    AddAttentionLoop(block.checkpoint, 2, u, h);
    ExpectRowsNear(seen[1].second,
                   RmsNormed(h, block.checkpoint.values(prefix + "post_attention_norm.weight"),
                             config.norm_eps),
                   2e-5);
  }
}

// What a step reads whole, in its order; routers of a parallel block come before attention.
TEST(BlockTest, WeightsComeInTheOrderOfAStep) {
  const auto widths = [](const ModelConfig& config, int layer) {
    BlockBench block(config, layer);
    std::vector<LinearLayer*> order;
    block.block.AppendWeights(order);
    std::vector<int> outputs;
    for (const LinearLayer* linear : order) outputs.push_back(linear->outputs());
    return outputs;
  };
  const std::vector<NamedModel> models = OddModels();
  EXPECT_EQ(widths(models[0].config, 0), (std::vector<int>{120, 33, 62, 33}));
  // Router of 3, attention of 9 heads a KV head, router of 5.
  EXPECT_EQ(widths(models[4].config, 0), (std::vector<int>{3, 18 * 10 + 60, 33, 5}));
  EXPECT_EQ(widths(models[5].config, 0), (std::vector<int>{5, 3, 18 * 10 + 60, 33}));
  // A PEER layer's query beside a mixture's router.
  EXPECT_EQ(widths(models[4].config, 2), (std::vector<int>{3, 240, 33, 4, 28}));
}

TEST(BlockTest, ScratchIsThatOfItsWidestPart) {
  EXPECT_EQ(BlockBench(OddConfig(), 0).block.ScratchBytes(), 0u);
  const auto bytes = [](std::vector<FfnConfig> ffn) {
    return BlockBench(OddModel({}, std::move(ffn)), 0).block.ScratchBytes();
  };
  const size_t small = bytes({PeerConfig{.keys = OddKeys(5, 1, 1)}});
  const size_t large = bytes({ProductKeyMemoryConfig{OddKeys(97, 5, 33)}});
  EXPECT_GT(small, 0u);
  EXPECT_GT(large, small);
  EXPECT_EQ(bytes({PeerConfig{.keys = OddKeys(5, 1, 1)}, ProductKeyMemoryConfig{OddKeys(97, 5, 33)},
                   DenseFfnConfig{7}}),
            large);
}

TEST(NormTest, IsTheFormulaOfItsKindInPlaceAndApart) {
  MemoryCheckpoint checkpoint(OddConfig(), 3);
  LayerBench bench(checkpoint, {});
  for (const NormType type : {NormType::kRmsNorm, NormType::kLayerNorm}) {
    const Norm norm = bench.Load([&](WeightPlacer& placer) {
      return Norm::Place(
          {.type = type, .epsilon = 0.25f, .width = kBlockWidth, .weight = "model.norm.weight"},
          placer);
    });
    const std::vector<float> x = RandomValues(9 * kBlockWidth, 5);
    std::vector<float> y(x.size(), 42.0f);
    norm.Forward(x.data(), y.data(), {1, 8});
    EXPECT_EQ(y[kBlockWidth - 1], 42);  // rows before and behind are not written
    EXPECT_EQ(y[8 * kBlockWidth], 42);

    DoubleRows expected = ToRows(x, kBlockWidth);
    for (DoubleRow& row : expected) {
      const double mean = type == NormType::kLayerNorm
                              ? std::accumulate(row.begin(), row.end(), 0.0) / kBlockWidth
                              : 0;
      for (double& value : row) value -= mean;
    }
    expected = RmsNormed(expected, checkpoint.values("model.norm.weight"), 0.25);
    expected.erase(expected.begin());
    expected.pop_back();
    const std::vector<float> rows(y.begin() + kBlockWidth, y.begin() + 8 * kBlockWidth);
    ExpectRowsNear(rows, expected, 1e-5);

    std::vector<float> in_place = x;
    norm.Forward(in_place.data(), in_place.data(), {1, 8});
    EXPECT_EQ(
        std::vector<float>(in_place.begin() + kBlockWidth, in_place.begin() + 8 * kBlockWidth),
        rows);
  }
}

}  // namespace
}  // namespace peerage::nn::cpu
