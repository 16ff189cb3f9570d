#include "model/nn/cpu/linear_layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/support/layer_bench.h"
#include "tests/support/random_values.h"
#include "tests/support/tensor_checkpoint.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kDepth = 97 / 32 * 32;  // 96: three whole blocks

// Every stored type that kernels run, with rows that fill no tile; of neighbours of one format one
// matrix is made.
struct MixedLayer {
  MixedLayer() {
    const std::pair<TensorType, int> kParts[] = {{TensorType::kF32, 33},  {TensorType::kBF16, 1},
                                                 {TensorType::kQ8_0, 31}, {TensorType::kQ4_1, 97},
                                                 {TensorType::kF32, 3},   {TensorType::kF32, 2}};
    for (const auto& [type, rows] : kParts) {
      const std::string name = "part" + std::to_string(checkpoint.tensors().size());
      checkpoint.Add(name, type, {rows, kDepth});
      source.slices.push_back({name, 0, rows});
      outputs += rows;
    }
  }

  LinearLayer Load(LayerBench& bench) const {
    return bench.Load([&](WeightPlacer& placer) { return placer.Linear(source); });
  }

  TensorCheckpoint checkpoint;
  MatrixSource source;
  int outputs = 0;
};

// Rows that are fed into a layer, with more room than they take, and the panels for them.
struct FedRows {
  FedRows(int count, uint32_t seed)
      : values(RandomValues(size_t(count) * kStride, seed)),
        panels(kernels::PanelBytes(kernels::WeightFormat::kQ8_0, kDepth, count)),
        tokens(count) {}

  static constexpr size_t kStride = kDepth + 5;
  Activations input() {
    return {.x = values.data(), .stride = kStride, .panels = panels.data(), .tokens = tokens};
  }

  std::vector<float> values;
  std::vector<uint8_t> panels;
  int tokens;
};

struct Product {
  double value = 0;
  double tolerance = 0;
};

// x . w in double, and how far f32 sums, or activations of int8, may be from it.
Product NaiveProduct(const float* x, const float* w, bool quantised) {
  Product product;
  double magnitude = 0;
  for (int block = 0; block < kDepth; block += 32) {
    float most = 0;
    double weights = 0;
    for (int i = block; i < block + 32; ++i) {
      most = std::max(most, std::fabs(x[i]));
      weights += std::fabs(w[i]);
      product.value += double{x[i]} * w[i];
      magnitude += std::fabs(double{x[i]} * w[i]);
    }
    if (quantised) product.tolerance += weights * most / 254;
  }
  product.tolerance += magnitude * (kDepth * std::ldexp(1, -24) + (quantised ? 1e-3 : 0));
  return product;
}

TEST(LinearLayerTest, PartsOfSeveralFormatsStandSideBySide) {
  const MixedLayer mixed;
  for (const int threads : {1, 3}) {
    LayerBench bench(mixed.checkpoint, {.threads = threads});
    const LinearLayer layer = mixed.Load(bench);
    ASSERT_EQ(layer.parts.size(), 5u);  // the last two are one
    EXPECT_EQ(layer.outputs(), mixed.outputs);
    EXPECT_EQ(layer.depth(), kDepth);
    EXPECT_EQ(layer.num_tiles(), 2 + 1 + 1 + 4 + 1);
    EXPECT_TRUE(layer.quantized());

    for (const int tokens : {1, 3, 31, 33}) {
      FedRows rows(tokens, 100 + tokens);
      const size_t stride = mixed.outputs + 3;
      std::vector<float> y(tokens * stride, 7);
      layer.PrepareAndForward(bench.pool(), rows.input(), {.y = y.data(), .stride = stride});

      size_t column = 0;
      for (const TensorInfo& tensor : mixed.checkpoint.tensors()) {
        const std::vector<float> w = mixed.checkpoint.values(tensor.name);
        const bool quantised = Traits(tensor.type).block_elements > 1;
        for (int o = 0; o < tensor.shape[0]; ++o, ++column) {
          for (int t = 0; t < tokens; ++t) {
            const Product expected = NaiveProduct(rows.values.data() + t * FedRows::kStride,
                                                  w.data() + o * kDepth, quantised);
            ASSERT_NEAR(y[t * stride + column], expected.value, expected.tolerance)
                << tensor.name << ", row " << t << ", output " << o;
          }
        }
      }
      for (int t = 0; t < tokens; ++t) {
        for (int i = 0; i < 3; ++i) EXPECT_EQ(y[t * stride + mixed.outputs + i], 7);
      }
    }
  }
}

TEST(LinearLayerTest, AddsWhatItWouldStore) {
  const MixedLayer mixed;
  LayerBench bench(mixed.checkpoint, {.threads = 2});
  const LinearLayer layer = mixed.Load(bench);
  FedRows rows(3, 5);
  const size_t stride = mixed.outputs;
  std::vector<float> stored(3 * stride), added = RandomValues(3 * stride, 6);
  const std::vector<float> before = added;
  layer.PrepareAndForward(bench.pool(), rows.input(), {.y = stored.data(), .stride = stride});
  layer.Forward(bench.pool(), rows.input(),
                {.y = added.data(), .stride = stride, .epilogue = kernels::Epilogue::kAdd});
  for (size_t i = 0; i < added.size(); ++i) ASSERT_EQ(added[i], before[i] + stored[i]) << i;
}

// Rows that are prepared by several threads' shares are those that are prepared at once.
TEST(LinearLayerTest, SharesOfPreparationAreTheWhole) {
  const MixedLayer mixed;
  LayerBench bench(mixed.checkpoint, {});
  const LinearLayer layer = mixed.Load(bench);
  FedRows whole(33, 8), shares(33, 8);
  layer.Prepare(whole.input(), {0, 33});
  for (const RowRange range : {RowRange{31, 33}, RowRange{0, 1}, RowRange{1, 31}}) {
    layer.Prepare(shares.input(), range);
  }
  EXPECT_EQ(whole.panels, shares.panels);
}

TEST(LinearLayerTest, PlainWeightsNeedNoPanels) {
  TensorCheckpoint checkpoint;
  checkpoint.Add("w", TensorType::kBF16, {31, 33});
  LayerBench bench(checkpoint, {});
  const LinearLayer layer = bench.Load([](WeightPlacer& placer) {
    return placer.Linear({{{"w", 0, 31}}});
  });
  EXPECT_FALSE(layer.quantized());
  const std::vector<float> x = RandomValues(33, 1);
  std::vector<float> y(31);
  layer.PrepareAndForward(bench.pool(), {.x = x.data(), .stride = 33, .tokens = 1},
                          {.y = y.data(), .stride = 31});
  EXPECT_TRUE(std::all_of(y.begin(), y.end(), [](float value) { return value != 0; }));
}

// Uneven groups, some empty, with layers of several formats: bit for bit what each layer gives.
TEST(LinearGroupsTest, GiveTheBitsOfEachLayerAlone) {
  const MixedLayer mixed;
  TensorCheckpoint plain;
  plain.Add("w", TensorType::kQ8_0, {257, kDepth});
  for (const int threads : {1, 2, 3}) {
    LayerBench mixed_bench(mixed.checkpoint, {.threads = threads}), plain_bench(plain, {});
    const LinearLayer first = mixed.Load(mixed_bench);
    const LinearLayer second = plain_bench.Load([](WeightPlacer& placer) {
      return placer.Linear({{{"w", 0, 257}}});
    });
    const std::pair<const LinearLayer*, int> kGroups[] = {{&first, 1}, {&second, 0}, {&second, 33},
                                                          {&first, 0}, {&first, 7},  {&second, 1}};

    std::vector<FedRows> fed;
    std::vector<std::vector<float>> expected, actual;
    for (const auto& [layer, tokens] : kGroups) {
      fed.emplace_back(tokens, 200 + fed.size());
      expected.emplace_back(size_t(tokens) * layer->outputs());
      actual.push_back(expected.back());
      if (tokens == 0) continue;
      layer->PrepareAndForward(
          mixed_bench.pool(), fed.back().input(),
          {.y = expected.back().data(), .stride = static_cast<size_t>(layer->outputs())});
      std::fill(fed.back().panels.begin(), fed.back().panels.end(), uint8_t{0});
    }
    std::vector<LinearGroup> groups;
    int rows = 0;
    for (size_t i = 0; i < fed.size(); ++i) {
      const LinearLayer* layer = kGroups[i].first;
      groups.push_back(
          {.layer = layer,
           .input = fed[i].input(),
           .output = {.y = actual[i].data(), .stride = static_cast<size_t>(layer->outputs())}});
      rows += fed[i].tokens;
    }
    ASSERT_EQ(rows, 42);
    // Shares that begin and end within groups.
    for (const RowRange range : {RowRange{0, 5}, RowRange{5, 35}, RowRange{35, 42}}) {
      PrepareGroups(groups, range);
    }
    ForwardGroups(mixed_bench.pool(), groups);

    EXPECT_EQ(actual, expected) << threads << " threads";
  }
}

TEST(LinearGroupsTest, NoGroupsAreNoWork) {
  kernels::ThreadPool pool(2);
  ForwardGroups(pool, {});
  PrepareGroups({}, {0, 8});
}

}  // namespace
}  // namespace peerage::nn::cpu
